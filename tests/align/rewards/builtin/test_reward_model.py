"""A judge: the scores of a reward model beside other rewards."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from align.errors import AdapterError
from align.recipe.rewards import configure
from align.rewards import Judge, Rewards
from tests.align.rewards.scoring import ASK, parts


def test_what_a_judges_engine_raises_is_not_a_samples_failure():
    def score(conversations, adapter):
        if conversations[0][-1]["content"] == "broken":
            raise AdapterError("no reward head")
        return [float(len(one[-1]["content"])) for one in conversations]

    judge = Judge(SimpleNamespace(score=score), "rm", mean=4.0, std=1.0)
    found, _ = parts({"reward_model": 0.3}, ["four", "longer"], judge=judge)
    assert found["reward_model"][0] == 0.5 < found["reward_model"][1]
    with pytest.raises(AdapterError):
        parts({"reward_model": 0.3}, ["broken"], judge=judge)


def test_only_a_judge_scores_what_has_no_function() -> None:
    configs = configure({"brevity": 1, "reward_model": 2})
    assert list(Rewards(configs).weights) == ["brevity"]
    judge = Judge(SimpleNamespace(score=lambda turns, adapter: [0.0] * len(turns)), "rm")  # type: ignore[arg-type]
    rewards = Rewards(configs, judge)
    assert rewards.parts([ASK], [""], {}) == {"brevity": [1.0], "reward_model": [0.5]}


def test_a_judges_preference_counts_for_right_answers_only_where_that_is_its_factor() -> None:
    configs = configure({"correctness": 1, "reward_model": {"weight": 1, "times": "correctness"}})
    judge = Judge(SimpleNamespace(score=lambda turns, adapter: [0.0] * len(turns)), "rm")  # type: ignore[arg-type]
    scored = Rewards(configs, judge).parts([ASK] * 2, ["7", "8"], {"answer": ["7"] * 2})
    assert scored["reward_model"] == [0.5, 0.0]


def test_a_preference_is_relative_to_the_scores_of_chosen_answers() -> None:
    judge = Judge(SimpleNamespace(), "rm", mean=3.0, std=2.0)  # type: ignore[arg-type]
    assert judge.preference(3.0) == 0.5
    assert judge.preference(5.0) == pytest.approx(0.7310586)  # the logistic of 1
    assert judge.preference(1.0) == pytest.approx(0.2689414)
    assert 0 < judge.preference(-1e9) < judge.preference(1e9) <= 1
