"""What is measured of systems, against what can be computed exactly."""

import math
from statistics import fmean, pstdev
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel

from align.data.splits import load_answers
from align.errors import RequestError
from align.evaluation import systems
from align.evaluation.systems import Systems, engine_of, shared_engine
from align.memory.generation import longest_sequence
from tests.align.evaluation.held_out import SMOKE


def test_divergence_estimates_what_can_be_computed_exactly(home, tiny, other):
    """With answers of one token, KL is a sum over the vocabulary."""
    recipe = SMOKE.model_copy(deep=True)
    recipe.evaluation.max_new_tokens = 1
    rows = load_answers(recipe, "test") * 40
    found = Systems(recipe, None, ()).divergences(other, None, rows)
    tuned = PeftModel.from_pretrained(tiny.shell(), other).eval()
    plain, exact = tiny.model, []
    for row in rows[: len(rows) // 40]:
        ids = torch.tensor([shared_engine("tiny-random").tokenize_chat(row["prompt"])])
        with torch.no_grad():
            ours, theirs = (one(ids).logits[0, -1].log_softmax(-1) for one in (tuned, plain))
        exact.append(float((ours.exp() * (ours - theirs)).sum()))
    for at in range(2):  # k3 a token, k1 an answer
        values = [one[at] for one in found]
        error = pstdev(values) / math.sqrt(len(values))
        assert fmean(values) == pytest.approx(fmean(exact), abs=4 * error)
        assert error < fmean(exact) / 8  # so that the line above says something


def test_the_engine_has_room_for_all_stages_of_the_recipe(monkeypatch):
    reserved = []
    engine = SimpleNamespace(reserve=reserved.append)
    monkeypatch.setattr(systems, "shared_engine", {SMOKE.base: engine}.get)
    assert engine_of(SMOKE) is engine
    assert reserved == [longest_sequence(SMOKE)]


def test_a_value_that_turns_graphs_neither_on_nor_off_is_refused(monkeypatch, tiny):
    monkeypatch.setenv("ALIGNERY_CUDA_GRAPHS", "maybe")
    with pytest.raises(RequestError, match="ALIGNERY_CUDA_GRAPHS=maybe"):
        shared_engine.__wrapped__("tiny-random")
