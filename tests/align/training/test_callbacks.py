"""Which numbers of a step end a run."""

from types import SimpleNamespace

import pytest
from transformers.trainer_callback import TrainerControl, TrainerState

from align.errors import TrainingError
from align.training.callbacks import SKIPPED_AT_MOST, DivergenceCallback


class Driven:
    """The callback that looks at the numbers, driven step by step."""

    def __init__(self, fp16, on_step=None):
        self.args = type("Arguments", (), {"fp16": fp16, "learning_rate": 0.1})
        self.state, self.control = TrainerState(), TrainerControl()
        self.callback = DivergenceCallback(on_step)

    def log(self, loss=1.0, grad_norm=1.0):
        self.state.global_step += 1
        logs = {"loss": loss, "grad_norm": grad_norm, "learning_rate": 0.1}
        self.callback.on_log(self.args, self.state, self.control, logs=logs)


@pytest.mark.parametrize("norm", [float("inf"), float("nan")])
def test_fp16_may_overflow_while_the_scaler_finds_its_scale(norm):
    told = []
    driven = Driven(fp16=True, on_step=lambda step, logs: told.append((step, logs)))
    for _ in range(SKIPPED_AT_MOST):
        driven.log(grad_norm=norm)
    driven.log()
    for _ in range(SKIPPED_AT_MOST):
        driven.log(grad_norm=norm)
    assert len(told) == 2 * SKIPPED_AT_MOST + 1
    assert "grad_norm" not in told[0][1], "no infinite number is told"
    last, in_a_row = 2 * SKIPPED_AT_MOST + 2, SKIPPED_AT_MOST + 1
    with pytest.raises(TrainingError, match=rf"step {last}: .*fp16 for {in_a_row} steps"):
        driven.log(grad_norm=norm)


@pytest.mark.parametrize("norm", [float("inf"), float("nan")])
def test_without_a_scaler_a_gradient_that_is_no_number_ends_the_run_at_once(norm):
    driven = Driven(fp16=False)
    driven.log()
    with pytest.raises(TrainingError, match=r"step 2: the gradient.*lower learning_rate"):
        driven.log(grad_norm=norm)


@pytest.mark.parametrize("fp16", [True, False])
def test_a_loss_that_is_no_number_ends_the_run_at_once(fp16):
    with pytest.raises(TrainingError, match=r"step 1: the loss became nan.*lower learning_rate"):
        Driven(fp16).log(loss=float("nan"))


@pytest.mark.parametrize("fp16", [True, False])
def test_the_learning_rate_is_not_blamed_alone_where_fp16_may_be_the_cause(fp16):
    with pytest.raises(TrainingError, match="learning rate") as caught:
        Driven(fp16).log(loss=float("inf"))
    assert ("fp32_modules" in str(caught.value)) is fp16


def test_a_step_that_the_optimizer_skipped_is_told():
    told = []
    driven = Driven(fp16=True)
    driven.callback = DivergenceCallback(on_skip=told.append)
    for step, skipped in ((1, True), (2, False), (3, True)):
        driven.callback.on_step_begin(driven.args, driven.state, driven.control)
        optimizer = SimpleNamespace(step_was_skipped=skipped)
        driven.callback.on_optimizer_step(
            driven.args, driven.state, driven.control, optimizer=optimizer
        )
        driven.state.global_step = step
    assert told == [1, 3]


def test_trls_summary_at_the_end_is_no_step():
    driven = Driven(fp16=False)
    driven.callback.on_log(driven.args, driven.state, driven.control, logs={"train_loss": 1.0})
