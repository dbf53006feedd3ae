"""What is measured of an adapter on held-out items, kind by kind."""

import math
from statistics import fmean

import pytest

from align.data.splits import load_split
from align.evaluation import evaluate
from align.evaluation.evaluate import Evaluator
from align.evaluation.statistics import longer_rule
from align.evaluation.systems import shared_engine
from tests.align.evaluation.held_out import SMOKE, held_out


def test_divergence_repeats_itself_and_is_next_to_nothing_from_itself(home, other):
    evaluator = Evaluator(SMOKE)
    once, again = (evaluator.diverging(other, None, "sft", "validation") for _ in range(2))
    assert once.kl_tokens == again.kl_tokens and min(once.kl_tokens) >= 0
    own = evaluator.diverging(other, other, "sft", "validation").metrics()
    far = once.metrics()
    assert far["kl_per_token"] > 20 * own["kl_per_token"]
    assert far["kl_per_answer"] > 20 * abs(own["kl_per_answer"])


def test_pairs_are_ranked_by_likelihood_and_by_the_ratio_to_the_parent(home, make_adapter, other):
    tuned = make_adapter("tuned", seed=5)
    found = Evaluator(SMOKE).implying(tuned, other, "dpo", "validation")
    engine, rows = shared_engine("tiny-random"), load_split(SMOKE, "dpo", "validation")
    engine.load("tuned", tuned)
    engine.load("other", other)

    def margins(name: str) -> list[float]:
        sums = []
        for side in ("chosen", "rejected"):
            cut = []
            for row in rows:
                prompt = engine.tokenize_chat(row["prompt"])
                whole = engine.tokenize_chat([*row["prompt"], *row[side]], generate=False)
                cut.append((prompt, whole[len(prompt) :]))
            sums.append(engine.log_probabilities(cut, name))
        return [a - b for a, b in zip(*sums, strict=True)]

    ours, theirs = margins("tuned"), margins("other")
    engine.unload("tuned")
    engine.unload("other")
    assert found.margins == pytest.approx(ours, abs=0.2)  # bf16, other rows in the batch
    gains = [a - b for a, b in zip(found.margins, theirs, strict=True)]
    assert found.implicit_margins == pytest.approx(gains, abs=0.2)
    metrics = found.metrics()
    assert metrics["pair_accuracy"] == fmean(one > 0 for one in found.margins)
    assert metrics["implicit_pair_accuracy"] == fmean(one > 0 for one in found.implicit_margins)
    assert metrics["pair_accuracy"] != metrics["implicit_pair_accuracy"]
    turns = [[row[side][0]["content"] for row in rows] for side in ("chosen", "rejected")]
    assert metrics["longer_rule"] == longer_rule(*turns)
    lengths = [(len(chosen), len(rejected)) for chosen, rejected in zip(*turns, strict=True)]
    assert found.longer == [(a > b) + 0.5 * (a == b) for a, b in lengths]


def test_the_judge_prefers_no_answer_to_itself(home, other, judge):
    evaluator = Evaluator(SMOKE, judge, lasting=(None, other))
    answered = evaluator.answering(None, "validation", SMOKE.rewards("grpo"), stage="grpo")
    assert answered.parts["reward_model"] and len(answered.reward) == len(answered.texts)
    same = evaluator.winning(answered, None, None, "grpo", "validation")
    assert same.metrics()["win_rate"] == 0.5
    won = evaluator.winning(answered, None, other, "grpo", "validation")
    against = won.metrics()["win_rate"]
    judged = evaluator.answering(other, "validation", SMOKE.rewards("grpo"), stage="grpo").parts
    both = zip(answered.parts["reward_model"], judged["reward_model"], strict=True)
    assert won.wins == [(own > parents) + 0.5 * (own == parents) for own, parents in both]
    assert set(won.wins) & {0.0, 1.0}  # not ties alone, so that the line above says something
    theirs = evaluator.answering(other, "validation", {}, stage="grpo")
    turned = evaluator.winning(theirs, other, None, "grpo", "validation").metrics()["win_rate"]
    assert against + turned == pytest.approx(1.0)


def test_labels_are_ranked_by_the_ratio_to_the_parent(home, make_adapter, other):
    """A child that only finds the liked completions likelier is right about all of them."""
    recipe = SMOKE.model_copy(deep=True)
    kto = {"method": "kto", "objective": "label_auc", "constraints": []}
    recipe.stages["dpo"] = recipe.stages["dpo"].model_copy(update=kto)
    rows = load_split(recipe, "dpo", "validation")
    liked = [float(row["label"]) for row in rows]
    assert 0 < sum(liked) < len(liked)
    found = held_out(recipe, "dpo", other).rung(make_adapter("child", seed=9))
    assert found.liked == liked and set(found.metrics()) == {"label_auc"}
    better = [a > b for a, x in zip(found.log_ratios, liked, strict=True) if x
              for b, y in zip(found.log_ratios, liked, strict=True) if not y]  # fmt: skip
    assert found.metrics()["label_auc"] == pytest.approx(fmean(better))
    same = held_out(recipe, "dpo", other).evaluator.labelling(other, other, "dpo", "validation")
    assert same.metrics()["label_auc"] == 0.5


def test_divergence_is_measured_at_so_many_prompts(home, other, monkeypatch):
    monkeypatch.setattr(evaluate, "DRAWN", 3)
    found = Evaluator(SMOKE).diverging(other, None, "sft", "validation")
    assert [math.isnan(one) for one in found.kl_tokens] == [False] * 3 + [True] * 5
    assert found.metrics()["kl_per_token"] == fmean(found.kl_tokens[:3])
