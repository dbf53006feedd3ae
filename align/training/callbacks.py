"""Trainer callbacks: checkpoints, the end of training, and checks of logged numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from align.errors import TrainingError

#: The loss's scale starts at 2^12 and is halved at each overflow (align.training.loss_scale).
SKIPPED_AT_MOST = 16

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
    `on_begin` is called as the first step begins, `on_skip` with each step that is skipped. The
    trainer does not advance the learning rate's schedule on such a step.
    """

    def __init__(
        self,
        on_step: OnStep | None = None,
        on_begin: Callable[[], None] | None = None,
        on_skip: Callable[[int], None] | None = None,
    ):
        self._on_step, self._on_begin, self._on_skip = on_step, on_begin, on_skip
        self._skipped, self.step = 0, 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.step = state.global_step + 1
        if self._on_begin is not None:
            self._on_begin()
            self._on_begin = None

    def on_optimizer_step(
        self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any
    ) -> None:
        if self._on_skip is not None and optimizer.step_was_skipped:
            self._on_skip(self.step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        if not logs or "loss" not in logs:
            return  # TRL's summary at the end
        step, rate = state.global_step, logs.get("learning_rate", args.learning_rate)
        if not math.isfinite(logs["loss"]):
            raise TrainingError(_diverged(step, f"the loss became {logs['loss']}", rate, args.fp16))
        norm = float(logs.get("grad_norm", 0.0))
        self._skipped = 0 if math.isfinite(norm) else self._skipped + 1
        if self._skipped and not args.fp16:
            raise TrainingError(_diverged(step, f"the gradient's norm became {norm}", rate, False))
        if self._skipped > SKIPPED_AT_MOST:
            problem = f"gradients overflowed fp16 for {self._skipped} steps in a row"
            raise TrainingError(_diverged(step, problem, rate, args.fp16))
        if self._on_step is not None:
            # TRL's metrics are None where a reward failed on every completion.
            numbers = {name: float(value) for name, value in logs.items() if value is not None}
            self._on_step(
                step, {name: value for name, value in numbers.items() if math.isfinite(value)}
            )


def _diverged(step: int, problem: str, rate: float, fp16: bool) -> str:
    remedies = "lower learning_rate, raise warmup_steps, or look for damaged rows in the data"
    if fp16:
        return (
            f"step {step}: {problem}: either activations are beyond fp16, in which this GPU "
            "computes (hold layers in fp32 by the recipe's fp32_modules: [mlp]), or the learning "
            f"rate is too high ({rate:.3g} at this step): {remedies}"
        )
    return (
        f"step {step}: {problem}: the learning rate is probably too high "
        f"({rate:.3g} at this step); {remedies}"
    )
