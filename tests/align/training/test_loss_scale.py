"""Under fp16 the loss's scale starts low; skipped steps are counted, and the schedule waits."""

from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from align.base import load_base
from align.training.loss_scale import FIRST_SCALE, lower_first_scale
from align.training.train_record import read_record
from tests.align.training.short_runs import run, stage_of


def trainer_with(scaler):
    return SimpleNamespace(accelerator=SimpleNamespace(scaler=scaler))


@pytest.mark.parametrize("used", [False, True])
def test_a_scaler_starts_at_the_first_scale_with_its_other_settings(used):
    scaler = torch.amp.GradScaler("cpu", growth_interval=123)
    if used:
        scaler.scale(torch.ones(1))
    lower_first_scale(trainer_with(scaler))
    assert scaler.get_scale() == FIRST_SCALE == 4096 and scaler.get_growth_interval() == 123
    assert float(scaler.scale(torch.ones(1))) == FIRST_SCALE


def test_without_a_scaler_there_is_nothing_to_do():
    lower_first_scale(trainer_with(None))


@pytest.fixture
def overflowing(monkeypatch):
    """Trainers take a GradScaler, which accelerate allows on a GPU alone; steps 1 and 2 overflow.

    The scale of the loss as each run begins.
    """
    scales, steps = [], []

    def scaled(trainer):
        trainer.args.fp16 = True
        scaler = trainer.accelerator.scaler = torch.amp.GradScaler("cpu")
        lower_first_scale(trainer)
        weight = next(p for p in trainer.model.parameters() if p.requires_grad)

        def spoil(gradient):
            if not steps:
                scales.append(scaler.get_scale())
            steps.append(trainer.state.global_step + 1)
            return gradient * float("inf") if steps[-1] < 3 else gradient

        weight.register_hook(spoil)

    monkeypatch.setattr("align.training.attempt.lower_first_scale", scaled)
    return scales


def test_skipped_steps_are_counted_and_do_not_advance_the_schedule(overflowing, tmp_path, caplog):
    rates = {}
    schedule = {"lr_scheduler_type": "linear", "learning_rate": 1e-3, "optim": "adamw_torch"}
    stage = stage_of("sft", dropout=0.0, **schedule)
    settings = {"stage": stage, "on_step": lambda step, logs: rates.update({step: logs})}
    base = load_base("tiny-random")
    _, checkpoint = run(base, "sft", tmp_path, to=4, steps=8, **settings)
    assert overflowing == [FIRST_SCALE]
    record = read_record(checkpoint)
    assert record.skipped_steps == 2 and record.metrics["train/skipped_steps"] == 2
    learning_rates = [rates[step]["learning_rate"] for step in (1, 2, 3, 4)]
    assert learning_rates == pytest.approx([1e-3, 1e-3, 1e-3, 1e-3 * 7 / 8])
    assert "2 steps, which changed nothing: 1, 2" in caplog.text
    # The count goes on, and so does the scale.
    scale = torch.load(checkpoint / "state" / "scaler.pt", weights_only=True)["scale"]
    assert scale == FIRST_SCALE / 4
    caplog.clear()
    _, checkpoint = run(base, "sft", tmp_path, to=5, steps=8, **settings)
    assert read_record(checkpoint).skipped_steps == 2 and "changed nothing" not in caplog.text
    scale = torch.load(checkpoint / "state" / "scaler.pt", weights_only=True)["scale"]
    assert scale == FIRST_SCALE / 4


@pytest.mark.parametrize("fused", [False, True])
def test_accelerate_sees_what_is_skipped_unless_the_optimizer_is_fused(fused):
    """If it sees both, trainers under fp16 may have the fused optimizer again."""
    accelerator = Accelerator(cpu=True)
    accelerator.scaler = torch.amp.GradScaler("cpu")
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = accelerator.prepare(torch.optim.AdamW([weight], fused=fused))
    accelerator.backward(weight.sum() * float("inf"))
    optimizer.step()
    assert torch.equal(weight, torch.ones(2))
    assert accelerator.optimizer_step_was_skipped is not fused


def test_a_run_that_skips_nothing_has_no_such_metric(tmp_path):
    _, checkpoint = run(load_base("tiny-random"), "sft", tmp_path, to=1)
    record = read_record(checkpoint)
    assert record.skipped_steps == 0 and "train/skipped_steps" not in record.metrics
