"""What Ray Tune's controller calls of a worker, without Ray Tune: importing it takes a second.

Ray Tune imports pandas and Ray Data; in a worker that is as long as everything else before its
first trial, and 120 MB. What is here are the methods of `ray.tune.Trainable` 2.60 that are called.
"""

from __future__ import annotations

import time
from typing import Any


class Actor:
    """A worker of trials: subclasses have `setup`, `reset_config`, `step` and `cleanup`."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._iteration = 0
        self.setup(config)

    def setup(self, config: dict[str, Any]) -> None:
        """Take the first trial's configuration."""
        raise NotImplementedError

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next one's; False if this process cannot."""
        raise NotImplementedError

    def step(self) -> dict[str, Any]:
        """Go on to something that can be told."""
        raise NotImplementedError

    def cleanup(self) -> None:
        """Let go of what the trial holds."""
        raise NotImplementedError

    def train(self) -> dict[str, Any]:
        """One step's result, with what Tune's controller wants in each."""
        began = time.monotonic()
        result = self.step()
        self._iteration += 1
        seconds = time.monotonic() - began
        counted = {"training_iteration": self._iteration, "time_this_iter_s": seconds}
        return {"done": False, **result, **counted}

    def reset(self, config: dict[str, Any]) -> bool:
        """Begin another trial in this process."""
        self._iteration = 0
        return self.reset_config(config)

    def get_auto_filled_metrics(self, debug_metrics_only: bool = False) -> dict[str, Any]:
        """Asked for when the worker has started."""
        return {"training_iteration": 0}

    def stop(self) -> None:
        """The worker is no longer needed."""
        self.cleanup()
