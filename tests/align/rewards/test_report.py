"""What is said of rewards that were tried on samples."""

import math

import pytest

from align.recipe.rewards import configure
from align.rewards import Rewards, mathematics
from align.rewards.report import Figures, RewardReport, try_rewards
from align.rewards.samples import Sample


def sample(prompt: str, text: str, truncated: bool | None = None, **columns: str) -> Sample:
    return Sample([{"role": "user", "content": prompt}], text, columns, truncated)


def report(raw: dict[str, float], *samples: Sample) -> RewardReport:
    return try_rewards(Rewards(configure(raw)), list(samples))


def test_figures_are_of_the_numbers_that_there_are() -> None:
    assert Figures.of(2.0, [1.0, math.nan, 3.0]) == Figures(2.0, 2.0, 1.0, 1.0, 3.0, 1, 3)
    none = Figures.of(1.0, [math.nan])
    assert (none.failed, none.count) == (1, 1)
    assert all(math.isnan(value) for value in (none.mean, none.std, none.low, none.high))


def test_parts_totals_and_groups_are_in_the_order_of_the_samples() -> None:
    made = report(
        {"correctness": 1.0, "brevity": 0.5},
        sample("1 + 1", "2", answer="2"),
        sample("1 + 1", "3", answer="2"),
        sample("2 + 2", "four is 4", answer="4"),
    )
    assert made.parts["correctness"] == [1.0, 0.0, 1.0]
    assert made.parts["brevity"] == pytest.approx([0.995, 0.995, 0.955])
    assert made.total == pytest.approx([1.4975, 0.4975, 1.4775])
    assert made.groups == [[0, 1], [2]]
    assert made.figures["correctness"].mean == pytest.approx(2 / 3)
    assert not made.failures


def test_a_reward_that_does_not_vary_teaches_nothing() -> None:
    made = report(
        {"correctness": 1.0}, sample("a", "7", answer="7"), sample("a", "so 7", answer="7")
    )
    assert "correctness is 1 for every completion, so it teaches nothing" in made.remarks
    alike = "every completion of 1 of 1 prompts scores alike: GRPO learns nothing from them"
    assert alike in made.remarks


def test_prompts_with_a_single_completion_cannot_be_compared() -> None:
    made = report({"brevity": 1.0}, sample("a", "x"), sample("b", "xx"))
    assert made.remarks[0] == (
        "each prompt has one completion: GRPO compares the completions of one prompt"
    )


def test_length_and_the_token_limit_are_remarked_on() -> None:
    texts = ["x" * 20, "x" * 60, "x" * 100]
    made = report({"brevity": 1.0}, *(sample("a", text, len(text) > 20) for text in texts))
    assert made.remarks == [
        "the reward follows length (r = -1.00): shorter completions get more",
        "2 of 3 completions were cut at the token limit: what they would have ended in is not "
        "rewarded",
    ]


def test_expressions_that_only_math_verify_reads_are_remarked_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("align.rewards.report.installed", lambda: False)
    monkeypatch.setattr(mathematics, "installed", lambda: False)
    made = report(
        {"correctness": 1.0}, sample("a", "x^2", answer="x^2"), sample("a", "3", answer="3")
    )
    assert any(
        remark.startswith("1 of 2 answers are expressions, such as x^2; without math-verify")
        for remark in made.remarks
    )
