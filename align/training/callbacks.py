"""Trainer callbacks: checkpoints, the end of training, and checks of logged numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from align.errors import TrainingError

#: GradScaler starts at 2^16 and halves at each overflow: twenty in a row leave nothing to halve.
SKIPPED_AT_MOST = 20

OnStep = Callable[[int, dict[str, float]], None]
OnCheckpoint = Callable[[int], None]


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Saves at every `every`-th step and at `to`, where training stops; `put` gets the step."""

    def __init__(self, to: int, every: int | None, put: Callable[[int], None]):
        self._to, self._every, self._put = to, every, put

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        step = state.global_step
        if step >= self._to or (self._every and step % self._every == 0):
            control.should_save = True
        if step >= self._to:
            control.should_training_stop = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._put(state.global_step)


class DivergenceCallback(TrainerCallback):  # type: ignore[misc]
    """Calls `on_step` with each step's metrics; TrainingError if loss or gradient are not finite.

    Under fp16, GradScaler skips a step whose gradients are not finite and halves its scale, so only
    more than SKIPPED_AT_MOST such steps in a row are an error. `step` is the current step.
    `on_begin` is called as the first step begins.
    """

    def __init__(self, on_step: OnStep | None = None, on_begin: Callable[[], None] | None = None):
        self._on_step, self._on_begin, self._skipped, self.step = on_step, on_begin, 0, 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.step = state.global_step + 1
        if self._on_begin is not None:
            self._on_begin()
            self._on_begin = None

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        if not logs or "loss" not in logs:
            return  # TRL's summary at the end
        step, rate = state.global_step, logs.get("learning_rate", args.learning_rate)
        if not math.isfinite(logs["loss"]):
            raise TrainingError(_diverged(step, f"the loss became {logs['loss']}", rate))
        norm = float(logs.get("grad_norm", 0.0))
        self._skipped = 0 if math.isfinite(norm) else self._skipped + 1
        if self._skipped and not args.fp16:
            raise TrainingError(_diverged(step, f"the gradient's norm became {norm}", rate))
        if self._skipped > SKIPPED_AT_MOST:
            problem = f"gradients overflowed fp16 for {self._skipped} steps in a row"
            raise TrainingError(_diverged(step, problem, rate))
        if self._on_step is not None:
            # TRL's metrics are None where a reward failed on every completion.
            numbers = {name: float(value) for name, value in logs.items() if value is not None}
            self._on_step(
                step, {name: value for name, value in numbers.items() if math.isfinite(value)}
            )


def _diverged(step: int, problem: str, rate: float) -> str:
    return (
        f"step {step}: {problem}: the learning rate is probably too high "
        f"({rate:.3g} at this step); lower learning_rate, raise warmup_steps, "
        "or look for damaged rows in the data"
    )
