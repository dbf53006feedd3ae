"""Base class of workers, with the interface of `ray.tune.Trainable` but without importing Ray Tune.

Ray Tune imports pandas and Ray Data. In a worker that takes a second, as long as everything else
before its first trial, and 120 MB. `Actor` has the methods of `ray.tune.Trainable` 2.60 that Tune's
controller calls.
"""

from __future__ import annotations

import time
from typing import Any


class Actor:
    """A worker of trials: subclasses define `setup`, `reset_config`, `step` and `cleanup`."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._iteration = 0
        self.setup(config)

    def setup(self, config: dict[str, Any]) -> None:
        """Store the first trial's configuration."""
        raise NotImplementedError

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Store the next trial's configuration; False if this process cannot run it."""
        raise NotImplementedError

    def step(self) -> dict[str, Any]:
        """Run the trial to its next result."""
        raise NotImplementedError

    def cleanup(self) -> None:
        """Release the trial's resources."""
        raise NotImplementedError

    def train(self) -> dict[str, Any]:
        """Run one step; its result with the fields that Tune's controller needs in each."""
        started = time.monotonic()
        result = self.step()
        self._iteration += 1
        seconds = time.monotonic() - started
        tune_fields = {"training_iteration": self._iteration, "time_this_iter_s": seconds}
        return {"done": False, **result, **tune_fields}

    def reset(self, config: dict[str, Any]) -> bool:
        """Start another trial in this process."""
        self._iteration = 0
        return self.reset_config(config)

    def get_auto_filled_metrics(self, debug_metrics_only: bool = False) -> dict[str, Any]:
        """Called by Tune when the worker has started."""
        return {"training_iteration": 0}

    def stop(self) -> None:
        """End the worker: Tune no longer needs it."""
        self.cleanup()
