"""What is measured of an adapter on held-out items, when, and what is kept of it."""

import json
import math
import pickle
from pathlib import Path
from statistics import fmean, pstdev

import pytest
import torch
from peft import PeftModel

from align.adapters import Manifest, adapter_id, write_manifest
from align.base import load_base
from align.data.splits import load_answers, load_split
from align.errors import DataError
from align.evaluation import evaluate
from align.evaluation.eval_plan import EvalPlan, at_end, at_rung
from align.evaluation.evaluate import Evaluator
from align.evaluation.examples import examples
from align.evaluation.statistics import longer_rule
from align.evaluation.systems import Systems, shared_engine
from align.recipe import Recipe, load_recipe, parse_recipe

SMOKE = load_recipe("arithmetic-smoke")


@pytest.fixture
def other(make_adapter) -> Path:
    return make_adapter("other", seed=1)


@pytest.fixture
def judge(make_adapter) -> Path:
    """A reward model: an adapter with a random head."""
    from safetensors.torch import load_file, save_file

    folder = make_adapter("judge", seed=2)
    tensors = load_file(folder / "adapter_model.safetensors")
    torch.manual_seed(3)
    tensors["base_model.model.score.weight"] = torch.randn(1, 64)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    base = load_base("tiny-random")
    known = {"base": base.ref, "base_digest": base.digest, "line": "a/b", "method": "reward"}
    metrics = {"chosen_mean": 0.0, "chosen_std": 5.0}
    manifest = Manifest(id=adapter_id(folder), **known, rank=4, metrics=metrics)
    write_manifest(folder, manifest)
    return folder


def held_out(
    recipe: Recipe, stage: str, parent: Path | None, judge: Path | None = None
) -> EvalPlan:
    return EvalPlan(recipe, stage, recipe.stages[stage].resolve(), parent, judge)


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


def test_rungs_measure_what_the_objective_needs_and_the_end_everything():
    stages = SMOKE.stages
    assert at_rung(stages["sft"]) == ("answers",)
    nll = stages["sft"].model_copy(update={"objective": "nll"})
    assert at_rung(nll) == ("completions",)
    assert set(at_end(nll)) == {"completions", "answers", "divergence"}
    bounded = nll.model_copy(update={"constraints": ["length <= 1.2 * base.length"]})
    assert at_rung(bounded) == ("answers", "completions")
    accurate = nll.model_copy(update={"constraints": ["accuracy >= base.accuracy"]})
    assert at_rung(accurate) == ("completions",)  # answers are written at the end alone
    assert at_rung(stages["reward"]) == at_end(stages["reward"]) == ("pairs",)
    pairs = {"objective": "pair_accuracy", "reward_model": "reward", "constraints": []}
    dpo = stages["dpo"].model_copy(update=pairs)
    assert at_rung(dpo) == ("implied",)
    assert set(at_end(dpo)) == {"implied", "answers", "wins", "divergence"}
    kto = dpo.model_copy(update={"method": "kto", "objective": "label_auc"})
    assert at_rung(kto) == ("labels",) and "wins" in at_end(kto)
    won = dpo.model_copy(update={"objective": "win_rate"})
    assert at_rung(won) == ("answers", "wins")  # wins read the answers: they come first


def test_a_rung_asks_no_reward_that_the_objective_does_not_need(home, other, judge):
    items = held_out(SMOKE, "grpo", None, judge)
    assert SMOKE.stages["grpo"].objective == "reward"
    assert "reward/reward_model" in items.rung(other).metrics()
    recipe = SMOKE.model_copy(deep=True)
    recipe.stages["grpo"].objective = "accuracy"
    rung = held_out(recipe, "grpo", None, judge).rung(other).metrics()
    assert "accuracy" in rung and not any(name.startswith("reward") for name in rung)
    end = held_out(recipe, "grpo", None, judge).end(other).metrics()
    assert {"reward/reward_model", "mean_reward", "win_rate", "kl_per_token"} <= set(end)
    assert {"repetition", "truncated", "tokens", "length"} <= set(end)


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """How many requests the engine gets, one entry a call."""
    engine, seen = shared_engine("tiny-random"), []
    submit = type(engine).submit

    def watched(self, request, streamed=True):
        seen.append(1)
        return submit(self, request, streamed)

    monkeypatch.setattr(type(engine), "submit", watched)
    return seen


def test_base_and_parent_are_measured_once_for_all_trials(home, other, judge, counted):
    first = held_out(SMOKE, "grpo", other, judge)
    measured = [first.beside(one).metrics() for one in (other, None)]
    asked = len(counted)
    assert asked > 0
    again = held_out(SMOKE, "grpo", other, judge)  # as another worker would
    assert [again.beside(one).metrics() for one in (other, None)] == measured
    assert len(counted) == asked
    recipe = SMOKE.model_copy(deep=True)
    recipe.evaluation.max_new_tokens += 1  # the same items under other settings
    held_out(recipe, "grpo", other, judge).beside(None)
    assert len(counted) > asked


def test_what_was_kept_and_is_damaged_is_measured_anew(home, counted):
    items = held_out(SMOKE, "sft", None)
    before = items.beside(None).metrics()
    asked = len(counted)
    for file in (home / "evaluations").glob("*.json"):
        file.write_text(file.read_text()[:20])
    assert items.beside(None).metrics() == before and len(counted) == 2 * asked
    assert not list((home / "evaluations").glob(".*"))


def test_a_trials_own_adapters_are_not_kept(home, other, counted):
    items = held_out(SMOKE, "sft", None)
    items.evaluator.answering(other, "validation", {})
    assert not (home / "evaluations").exists()


@pytest.fixture
def plain(tmp_path) -> Recipe:
    """Conversations without answers that could be checked, and a reward that needs one."""
    rows = [
        {"prompt": f"Tell me about the number {n}.", "completion": f"{n} is a number."}
        for n in range(30)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    stage = {
        "method": "sft",
        "objective": "nll",
        "learning_rate": 1e-3,
        "max_steps": 2,
        "rewards": {"correctness": 1.0, "brevity": 0.2},
    }
    data = {"path": "rows.jsonl", "train": 16, "validation": 6, "test": 6}
    raw = {"name": "plain", "base": "tiny-random", "data": data, "stages": {"sft": stage}}
    return parse_recipe({**raw, "evaluation": {"max_new_tokens": 4}}, folder=tmp_path)


def test_without_answers_to_check_the_rest_is_measured(home, plain, other):
    metrics = held_out(plain, "sft", None).end(other).metrics()
    assert {"nll", "length", "kl_per_token", "reward/brevity", "mean_reward"} <= set(metrics)
    assert not {"accuracy", "reward/correctness"} & set(metrics)
    assert metrics["mean_reward"] == pytest.approx(0.2 * metrics["reward/brevity"])


def test_a_reward_that_decides_and_lacks_its_column_is_an_error(home, plain, other):
    decided = plain.model_copy(deep=True)
    decided.stages["sft"].objective = "reward"
    with pytest.raises(DataError, match="'correctness' needs the column answer"):
        held_out(decided, "sft", None).rung(other)


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


def test_rows_of_single_items_hold_every_number_and_travel(home, plain, other):
    whole = held_out(plain, "sft", None).end(other)
    rows = examples(pickle.loads(pickle.dumps(whole)))
    assert [one.items for one in rows] == ["answers"] * 6 + ["completions"] * 6
    answer, completion = rows[0], rows[6]
    assert answer.prompt.startswith("Tell me about the number") and answer.text == whole.texts[0]
    assert set(answer.numbers) >= {"length", "tokens", "repetition", "kl_per_answer", "mean_reward"}
    assert completion.numbers == {"nll": whole.nll[0]} and completion.split == "validation"
    assert len({one.key for one in rows}) == 12
    means = whole.metrics()
    assert means["nll"] == pytest.approx(fmean(one.numbers["nll"] for one in rows[6:]))
