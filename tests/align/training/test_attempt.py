"""An attempt at training leaves a whole checkpoint or nothing."""

import pytest

from align.base import Base, load_base
from align.errors import AdapterError, TrainingError
from align.fp16 import hold
from align.precision import choose
from align.training import attempt as running
from tests.align.training.short_runs import run


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base("tiny-random")


@pytest.mark.parametrize("at", ["write_factors", "write_record", "make_visible"])
def test_what_was_not_finished_is_not_there(base, tmp_path, monkeypatch, at):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, at, killed)
    with pytest.raises(KeyboardInterrupt):
        run(base, "sft", tmp_path, to=1)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_no_numbers_are_not_published(tmp_path, monkeypatch):
    def broken(folder):
        raise AdapterError(f"{folder}: tensor x holds NaN or infinite values")

    monkeypatch.setattr("align.training.attempt.read_factors", broken)
    with pytest.raises(TrainingError, match=r"step 1: .*not finite.*learning_rate"):
        run(load_base("tiny-random"), "sft", tmp_path, to=1)
    assert list(tmp_path.iterdir()) == []


def test_lora_on_layers_in_fp32_trains_in_fp32(tmp_path, monkeypatch):
    """On a CPU autocast trains in bf16, in place of fp16."""
    for module in ("align.base", "align.methods.trainers.trainer_inputs"):
        monkeypatch.setattr(f"{module}.precision", lambda: choose("cpu", None, True))
    base, trainers = load_base.__wrapped__("tiny-random"), []
    hold(base.model, ["layers.1.mlp"])
    monkeypatch.setattr(running, "lower_first_scale", trainers.append)
    losses, _ = run(base, "sft", tmp_path, to=2, steps=2)
    modules = dict(trainers[0].model.named_modules())
    changed = {name for name, module in modules.items() if "forward" in vars(module)}
    mlp = "base_model.model.model.layers.1.mlp"
    assert {name for name in changed if name.endswith("_proj")} == {
        f"{mlp}.{leaf}_proj" for leaf in ("gate", "up", "down")
    }
    assert losses.keys() == {1, 2}
