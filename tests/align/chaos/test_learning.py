"""Real weights learn: a few dozen SFT steps move held-out accuracy of SmolLM2."""

import os

import pytest
import torch

from align.evaluation.evaluate import Evaluator
from align.evaluation.metrics import paired
from align.recipe import load_recipe
from align.training.trial import Trial

pytestmark = pytest.mark.chaos


@pytest.fixture
def both_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    yield
    torch.set_num_threads(before)


def test_sft_moves_held_out_accuracy(tmp_path, both_cores):
    recipe = load_recipe("arithmetic")
    recipe.stages["sft"].sweep.rungs = []
    recipe.stages["sft"].max_steps = 24
    trial = Trial(recipe, "sft", {}, parent=None, reward_model=None, folder=tmp_path / "trial")
    trial.advance(24)
    trial.publish(tmp_path / "sft")
    evaluator = Evaluator(recipe)
    base = evaluator.answering(None, "validation", {})
    tuned = evaluator.answering(tmp_path / "sft", "validation", {})
    gain = paired(tuned.correct, base.correct)
    assert gain.low > 0, (base.metrics(), tuned.metrics())
