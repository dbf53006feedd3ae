"""A stage's training leaves the base alone, and nothing behind where it diverged."""

from types import SimpleNamespace

import pytest
import torch

from align.base import load_base
from align.data.splits import load_split
from align.errors import TrainingError
from align.inference.engine import BankEngine
from align.inference.options import EngineOptions
from align.methods import METHODS
from align.methods.trainers.rollouts import Rollouts
from align.precision import choose
from align.recipe import load_recipe
from align.training import train as train_module
from align.training.train import train
from tests.align.training.short_runs import run, same, stage_of

SMOKE = load_recipe("arithmetic-smoke")


def test_training_leaves_the_base_untouched(tmp_path):
    base = load_base(SMOKE.base)
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    ids = torch.arange(20)[None]
    with torch.no_grad():
        logits = base.model(ids).logits
    config, rows = SMOKE.stages["sft"].resolve(), load_split(SMOKE, "sft", "train")
    train(base, config, rows, tmp_path, to=1, steps=4, seed=0)
    assert all(torch.equal(before[name], t) for name, t in base.model.state_dict().items())
    assert not any("lora" in name for name, _ in base.model.named_modules())
    with torch.no_grad():
        assert torch.equal(base.model(ids).logits, logits)


def test_nothing_is_left_of_a_run_that_diverged(tmp_path):
    base = load_base(SMOKE.base)
    config = SMOKE.stages["sft"].resolve().model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match="learning rate"):
        rows = load_split(SMOKE, "sft", "train")
        train(base, config, rows, tmp_path, to=4, steps=4, seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "checkpointing"), [*((method, False) for method in METHODS), ("sft", True)]
)
def test_without_pefts_casts_autocast_learns_the_same_bits(
    tmp_path, monkeypatch, home, method, checkpointing
):
    """Casts to fp32 and back lose nothing, and each holds a copy of its input."""
    bf16 = choose("cpu", None, True)
    monkeypatch.setattr("align.methods.trainers.trainer_inputs.precision", lambda: bf16)
    monkeypatch.setattr("align.base.precision", lambda: bf16)
    base = load_base.__wrapped__("tiny-random")
    engine = BankEngine(base, EngineOptions(slots=8, slot_tokens=512))
    stage = stage_of(method, dropout=0.0, gradient_checkpointing=checkpointing)
    given = {"stage": stage, "engine": engine, "to": 2, "steps": 2}
    active, casting = [], train_module.disable_input_dtype_casting

    def watched(model, disabled):
        active.append(disabled)
        return casting(model, disabled and not len(active) > 1)

    monkeypatch.setattr(train_module, "disable_input_dtype_casting", watched)
    losses, without = run(base, method, tmp_path / "without", **given)
    expected, casts = run(base, method, tmp_path / "with", **given)
    assert active == [True, True]
    assert losses == expected and same(without, casts)


@pytest.mark.parametrize(
    ("method", "changes", "bf16", "with_engine", "expected"),
    [
        ("sft", {}, True, False, True),
        ("sft", {}, False, False, False),
        ("sft", {"dropout": 0.1}, True, False, False),
        ("dpo", {"dropout": 0.1, "disable_dropout": True}, True, False, True),
        ("grpo", {}, True, True, True),
        ("grpo", {}, True, False, False),
    ],
)
def test_inputs_of_lora_are_cast_where_autocast_would_round_or_is_off(
    method, changes, bf16, with_engine, expected
):
    stage = stage_of(method, **{"dropout": 0.0, **changes})
    trainer = SimpleNamespace(args=SimpleNamespace(bf16=bf16, fp16=False))
    rollouts = Rollouts(None, None) if with_engine else None
    assert train_module._casts_itself(stage, trainer, rollouts) is expected
