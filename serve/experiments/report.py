"""The report on an experiment: figures, decision and recommendation. Pure: no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, Field

from serve.experiments.statistics import (
    MINIMUM_USERS,
    SAMPLE_RATIO_ALARM,
    Arm,
    arms_of,
    bonferroni,
    difference,
    half_width,
    mean_interval,
    sample_ratio_e,
)

UNDECIDED = "undecided"
MISMATCH = "sample ratio mismatch: do not trust"


class VariantSpec(BaseModel):
    """One arm of an experiment. `weight` is its share of users in relation to the others'."""

    name: str
    model: str
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class ExperimentInfo(BaseModel):
    """An experiment as it was started. `planned_users` counts users who give feedback."""

    name: str
    variants: list[VariantSpec]
    control: str
    planned_users: int
    alpha: float
    state: Literal["running", "stopped"] = "running"
    reason: str = ""
    created_at: str = ""
    stopped_at: str | None = None


class Outcomes(BaseModel):
    """A variant's numbers of users and answers, and the mean feedback of each rating user."""

    users: int = 0
    answers: int = 0
    means: list[float] = Field(default_factory=list)


class VariantReport(BaseModel):
    """A variant's figures. `low` and `high` are its mean's confidence sequence, or null."""

    name: str
    model: str
    control: bool
    weight: float
    users: int
    answers: int
    rated_users: int
    mean: float | None
    low: float | None
    high: float | None


class VariantComparison(BaseModel):
    """A treatment against the control. Figures are null while no valid value exists."""

    treatment: str
    control: str
    difference: float | None
    low: float | None
    high: float | None
    e_value: float | None
    p_value: float | None
    alpha: float
    verdict: Literal["better", "worse", "undecided"]


class SampleRatio(BaseModel):
    """Whether users are split by the weights: not if `e_value` is at or above `alarm`."""

    e_value: float
    alarm: float = SAMPLE_RATIO_ALARM
    ok: bool


class ExperimentReport(BaseModel):
    """An experiment's state, figures, decision and recommendation."""

    experiment: str
    state: Literal["running", "stopped"]
    alpha: float
    planned_users: int
    rated_users: int
    variants: list[VariantReport]
    comparisons: list[VariantComparison]
    sample_ratio: SampleRatio
    decision: str
    recommendation: str


def analyse(info: ExperimentInfo, outcomes: Mapping[str, Outcomes]) -> ExperimentReport:
    """The report on `info` from the outcomes by variant (a missing variant had no users)."""
    by_variant = [outcomes.get(variant.name, Outcomes()) for variant in info.variants]
    arms = arms_of([outcome.means for outcome in by_variant])
    comparisons = _compare(info, arms)
    ratio = _sample_ratio(info, [outcome.users for outcome in by_variant])
    decision = _decide(info, comparisons, ratio)
    return ExperimentReport(
        experiment=info.name,
        state=info.state,
        alpha=info.alpha,
        planned_users=info.planned_users,
        rated_users=sum(arm.users for arm in arms),
        variants=[
            _variant(info, variant, outcome, arm)
            for variant, outcome, arm in zip(info.variants, by_variant, arms, strict=True)
        ],
        comparisons=comparisons,
        sample_ratio=ratio,
        decision=decision,
        recommendation=_recommend(info, arms, comparisons, decision),
    )


def _planned(info: ExperimentInfo, *names: str) -> int:
    """The share of the planned users that the named variants get together, at least 1."""
    weights = {variant.name: variant.weight for variant in info.variants}
    share = sum(weights[name] for name in names) / sum(weights.values())
    return max(1, round(info.planned_users * share))


def _variant(
    info: ExperimentInfo, variant: VariantSpec, outcome: Outcomes, arm: Arm
) -> VariantReport:
    interval = mean_interval(arm, _planned(info, variant.name), info.alpha)
    low, high = interval or (None, None)
    return VariantReport(
        **variant.model_dump(),
        control=variant.name == info.control,
        users=outcome.users,
        answers=outcome.answers,
        rated_users=arm.users,
        mean=arm.mean,
        low=low,
        high=high,
    )


def _compare(info: ExperimentInfo, arms: Sequence[Arm]) -> list[VariantComparison]:
    by_name = dict(zip((variant.name for variant in info.variants), arms, strict=True))
    alpha = bonferroni(info.alpha, len(info.variants))
    verdicts: dict[int, Literal["better", "worse", "undecided"]]
    verdicts = {1: "better", -1: "worse", 0: "undecided"}
    comparisons = []
    for name, arm in by_name.items():
        if name == info.control:
            continue
        effect = difference(by_name[info.control], arm, _planned(info, info.control, name), alpha)
        comparisons.append(
            VariantComparison(
                treatment=name,
                control=info.control,
                difference=effect.estimate,
                low=effect.low,
                high=effect.high,
                e_value=effect.e_value,
                p_value=effect.p_value,
                alpha=alpha,
                verdict=verdicts[effect.sign],
            )
        )
    return comparisons


def _sample_ratio(info: ExperimentInfo, users: list[int]) -> SampleRatio:
    e = sample_ratio_e(users, [variant.weight for variant in info.variants])
    return SampleRatio(e_value=e, ok=e < SAMPLE_RATIO_ALARM)


def _decide(info: ExperimentInfo, comparisons: list[VariantComparison], ratio: SampleRatio) -> str:
    if not ratio.ok:
        return MISMATCH
    if better := [comparison for comparison in comparisons if comparison.verdict == "better"]:
        best = max(better, key=lambda comparison: comparison.difference or 0.0)
        return f"{best.treatment} wins"
    if all(comparison.verdict == "worse" for comparison in comparisons):
        return f"{info.control} wins"
    return UNDECIDED


def _recommend(
    info: ExperimentInfo, arms: Sequence[Arm], comparisons: list[VariantComparison], decision: str
) -> str:
    models = {variant.name: variant.model for variant in info.variants}
    stop = f"`alignery ab stop {info.name}`" if info.state == "running" else ""
    if decision == MISMATCH:
        return _sentences(
            "Find out why users do not arrive by the weights (failed or repeated requests, "
            "users without a stable `user` field)",
            stop and f"end it with {stop}",
            "start anew under another name",
        )
    if decision == f"{info.control} wins":
        return _sentences(f"Keep {models[info.control]}", stop and f"end it with {stop}")
    if decision != UNDECIDED:
        winner = models[decision.removesuffix(" wins")]
        return _sentences(_promote(winner), stop and f"end it with {stop}")
    return _undecided(info, arms, comparisons)


def _promote(model: str) -> str:
    if model == "base":
        return "Answer with base: no adapter beats it"
    return f"Promote it: `alignery adapter promote {model}`"


def _undecided(
    info: ExperimentInfo, arms: Sequence[Arm], comparisons: list[VariantComparison]
) -> str:
    rated = sum(arm.users for arm in arms)
    control = next(variant.model for variant in info.variants if variant.name == info.control)
    if info.state == "stopped":
        return f"It was stopped before it could decide; keep {control}, or start a new one."
    if not rated:
        return "No feedback yet: send POST /v1/feedback with the id of each answer."
    if min(arm.users for arm in arms) < MINIMUM_USERS:
        return f"Go on: nothing is decided before {MINIMUM_USERS} users of each variant were rated."
    if any(arm.standard_error is None for arm in arms):
        return "Go on: everyone said the same so far, so nothing tells the variants apart."
    smallest = _detectable(info, arms)
    if rated < info.planned_users:
        return (
            f"Go on: {rated} of {info.planned_users} planned users are rated. "
            f"At the planned number, a difference of {smallest:.2g} or more will show."
        )
    return (
        f"The planned number is reached and no difference of {smallest:.2g} or more showed: "
        f"keep {control} and stop, or go on looking, which raises no error rate."
    )


def _detectable(info: ExperimentInfo, arms: Sequence[Arm]) -> float:
    """The largest half width of the comparisons' intervals at the planned size."""
    by_name = dict(zip((variant.name for variant in info.variants), arms, strict=True))
    alpha = bonferroni(info.alpha, len(info.variants))
    widths = []
    for name in by_name:
        if name != info.control:
            planned = _planned(info, name, info.control)
            variance = sum(
                (by_name[arm].variance or 0.0) / _planned(info, arm) for arm in (name, info.control)
            )
            widths.append(float(half_width(variance**0.5, planned, planned, alpha)))
    return max(widths)


def _sentences(*parts: str) -> str:
    """The non-empty parts, joined to a sentence."""
    return "; ".join(part for part in parts if part) + "."
