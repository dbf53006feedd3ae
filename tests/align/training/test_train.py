"""A stage's training leaves the base alone, and nothing behind where it diverged."""

import pytest
import torch

from align.base import load_base
from align.data.splits import load_split
from align.errors import TrainingError
from align.recipe import load_recipe
from align.training.train import train

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
