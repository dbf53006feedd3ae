"""Rewards that were tried, as JSON values and as text for a terminal."""

import io

from rich.console import Console

from align.commands.rewards_table import plain, show
from align.recipe.rewards import configure
from align.rewards import Rewards
from align.rewards.report import RewardReport, try_rewards
from align.rewards.samples import Sample

ASK = [{"role": "user", "content": "What is 3 + 4?"}]


def report(*answers: str | None) -> RewardReport:
    samples = [Sample(ASK, f"it is {n}", {"answer": answer}) for n, answer in enumerate(answers)]
    return try_rewards(Rewards(configure({"correctness": 2.0})), samples)


def shown(made: RewardReport, left_out: list[str]) -> str:
    stream = io.StringIO()
    show(Console(file=stream, width=100), made, left_out, "mine/grpo: 2 completions")
    return stream.getvalue()


def test_a_reward_that_failed_is_null() -> None:
    values = plain(report("0", None), ["reward_model"])
    first, second = values["samples"]
    assert (first["completion"], first["parts"], first["total"]) == (
        "it is 0", {"correctness": 1.0}, 2.0,
    )  # fmt: skip
    assert (second["parts"], second["total"]) == ({"correctness": None}, 0.0)
    assert values["left_out"] == ["reward_model"]
    assert values["rewards"]["correctness"] == {
        "weight": 2.0, "mean": 1.0, "std": 0.0, "low": 1.0, "high": 1.0, "failed": 1, "count": 2,
    }  # fmt: skip
    assert values["failures"][0]["error"] == "ValueError: the row has no 'answer'"


def test_completions_figures_and_what_is_left_out_are_shown() -> None:
    told = shown(report("0", "7"), ["reward_model"])
    assert told.startswith("mine/grpo: 2 completions\n")
    rows = [line.split() for line in told.splitlines()]
    assert ["it", "is", "0", "1.000", "2.000"] in rows
    assert ["it", "is", "1", "0.000", "0.000"] in rows
    assert ["correctness", "2", "0.500", "0.500", "0.000", "1.000", "–"] in rows
    assert "reward_model is left out" in told and "Failed" not in told


def test_five_failures_are_shown_and_the_rest_counted() -> None:
    told = shown(report(*[None] * 7), [])
    assert told.count("ValueError: the row has no 'answer'") == 5
    assert "and 2 more, which --json prints" in told
    assert "correctness gave no number for 7 of 7 completions" in told
