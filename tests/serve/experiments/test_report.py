"""An experiment's report as a pure function of what its users said."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from serve.experiments.report import (
    ExperimentInfo,
    ExperimentReport,
    Outcomes,
    VariantSpec,
    analyse,
)

#: Half a confidence sequence at its planned size, in standard errors.
WIDTH = 1.549 * stats.norm.ppf(0.975)


def report(said: dict[str, list[float]], planned: int, **weights: float) -> ExperimentReport:
    """On variants that each user of theirs rated; the first is the control."""
    variants = [VariantSpec(name=one, model=one, weight=weights.get(one, 1.0)) for one in said]
    info = ExperimentInfo(
        name="trial", variants=variants, control=next(iter(said)), planned_users=planned, alpha=0.05
    )
    outcomes = {
        one: Outcomes(users=len(means), answers=len(means), means=means)
        for one, means in said.items()
    }
    return analyse(info, outcomes)


def votes(up: int, down: int) -> list[float]:
    return [1.0] * up + [0.0] * down


def test_intervals_are_narrowest_at_a_variants_share_of_the_planned_users() -> None:
    said = {"control": votes(120, 180), "treatment": votes(55, 45)}
    found = report(said, 400, control=3.0)
    for variant, means in zip(found.variants, said.values(), strict=True):
        assert variant.low is not None and variant.high is not None
        half = WIDTH * float(stats.sem(means))
        assert (variant.high - variant.low) / 2 == pytest.approx(half, rel=2e-3)
    (comparison,) = found.comparisons
    error = sqrt(sum(float(stats.sem(means)) ** 2 for means in said.values()))
    assert comparison.difference == pytest.approx(0.15)
    assert comparison.high == pytest.approx(0.15 + WIDTH * error, rel=2e-3)


def test_of_three_variants_each_comparison_spends_half_of_alpha() -> None:
    two = report({"control": votes(40, 60), "good": votes(60, 40)}, 200).comparisons[0]
    said = {"control": votes(40, 60), "good": votes(60, 40), "same": votes(40, 60)}
    three = report(said, 300).comparisons[0]
    assert three.low is not None and two.low is not None
    assert three.alpha == 0.025 and three.low < two.low  # wider, at the same users and plan


@pytest.mark.parametrize(
    ("treatments", "decision"),
    [
        ({"bad": votes(10, 90), "worse": votes(5, 95)}, "control wins"),
        ({"bad": votes(10, 90), "same": votes(50, 50)}, "undecided"),
        ({"bad": votes(10, 90), "good": votes(90, 10)}, "good wins"),
        ({"best": votes(95, 5), "good": votes(85, 15)}, "best wins"),
    ],
)
def test_the_decision_of_several_treatments(
    treatments: dict[str, list[float]], decision: str
) -> None:
    assert report({"control": votes(50, 50), **treatments}, 300).decision == decision


@pytest.mark.parametrize(
    ("users", "words"), [(40, "Go on: 80 of 400"), (200, "The planned number is reached")]
)
def test_what_will_show_is_the_half_width_at_the_planned_size(users: int, words: str) -> None:
    half = users // 2
    found = report({"control": votes(half, half), "treatment": votes(half, half)}, 400)
    variance = float(np.var(votes(half, half), ddof=1))
    shows = WIDTH * sqrt(2 * variance / 200)
    assert found.recommendation.startswith(words)
    assert f"a difference of {shows:.2g} or more" in found.recommendation.replace("no d", "a d")
