"""What an experiment shows so far, in figures and in words. Pure: no database."""

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
    """What came of one variant: users and answers it had, and each rating user's mean feedback."""

    users: int = 0
    answers: int = 0
    means: list[float] = Field(default_factory=list)


class VariantReport(BaseModel):
    """One variant's figures; `low` and `high` hold its mean at every look, or are null."""

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
    """A treatment against the control. Null figures: no honest value exists yet."""

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
    """Whether users are split as the weights say; `e_value` at or over `alarm` says no."""

    e_value: float
    alarm: float = SAMPLE_RATIO_ALARM
    ok: bool


class ExperimentReport(BaseModel):
    """An experiment's state, figures, decision, and what to do next."""

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
    """The report on `info` from each variant's outcomes (a missing one has had no users)."""
    every = [outcomes.get(variant.name, Outcomes()) for variant in info.variants]
    arms = arms_of([one.means for one in every])
    comparisons = _compare(info, arms)
    ratio = _sample_ratio(info, [one.users for one in every])
    decision = _decide(info, comparisons, ratio)
    return ExperimentReport(
        experiment=info.name,
        state=info.state,
        alpha=info.alpha,
        planned_users=info.planned_users,
        rated_users=sum(arm.users for arm in arms),
        variants=[
            _variant(info, variant, one, arm)
            for variant, one, arm in zip(info.variants, every, arms, strict=True)
        ],
        comparisons=comparisons,
        sample_ratio=ratio,
        decision=decision,
        recommendation=_recommend(info, arms, comparisons, decision),
    )


def _planned(info: ExperimentInfo, *names: str) -> int:
    """How many of the planned users these variants get."""
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
    named = dict(zip((variant.name for variant in info.variants), arms, strict=True))
    alpha = bonferroni(info.alpha, len(info.variants))
    verdicts: dict[int, Literal["better", "worse", "undecided"]]
    verdicts = {1: "better", -1: "worse", 0: "undecided"}
    result = []
    for name, arm in named.items():
        if name == info.control:
            continue
        found = difference(named[info.control], arm, _planned(info, info.control, name), alpha)
        result.append(
            VariantComparison(
                treatment=name,
                control=info.control,
                difference=found.estimate,
                low=found.low,
                high=found.high,
                e_value=found.e_value,
                p_value=found.p_value,
                alpha=alpha,
                verdict=verdicts[found.sign],
            )
        )
    return result


def _sample_ratio(info: ExperimentInfo, users: list[int]) -> SampleRatio:
    e = sample_ratio_e(users, [variant.weight for variant in info.variants])
    return SampleRatio(e_value=e, ok=e < SAMPLE_RATIO_ALARM)


def _decide(info: ExperimentInfo, comparisons: list[VariantComparison], ratio: SampleRatio) -> str:
    if not ratio.ok:
        return MISMATCH
    if better := [one for one in comparisons if one.verdict == "better"]:
        best = max(better, key=lambda one: one.difference or 0.0)
        return f"{best.treatment} wins"
    if all(one.verdict == "worse" for one in comparisons):
        return f"{info.control} wins"
    return UNDECIDED


def _recommend(
    info: ExperimentInfo, arms: Sequence[Arm], comparisons: list[VariantComparison], decision: str
) -> str:
    models = {variant.name: variant.model for variant in info.variants}
    end = f"`alignery ab stop {info.name}`" if info.state == "running" else ""
    if decision == MISMATCH:
        return _sentences(
            "Find out why users do not arrive by the weights (failed or repeated requests, "
            "users without a stable `user` field)",
            end and f"end it with {end}",
            "start anew under another name",
        )
    if decision == f"{info.control} wins":
        return _sentences(f"Keep {models[info.control]}", end and f"end it with {end}")
    if decision != UNDECIDED:
        winner = models[decision.removesuffix(" wins")]
        return _sentences(_promote(winner), end and f"end it with {end}")
    return _undecided(info, arms, comparisons)


def _promote(model: str) -> str:
    if model == "base":
        return "Answer with base: no adapter beats it"
    return f"Promote it: `alignery adapter promote {model}`"


def _undecided(
    info: ExperimentInfo, arms: Sequence[Arm], comparisons: list[VariantComparison]
) -> str:
    rated = sum(arm.users for arm in arms)
    control = next(one.model for one in info.variants if one.name == info.control)
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
    """The widest half interval that the comparisons will have at the planned size."""
    named = dict(zip((variant.name for variant in info.variants), arms, strict=True))
    alpha = bonferroni(info.alpha, len(info.variants))
    widths = []
    for name in named:
        if name != info.control:
            planned = _planned(info, name, info.control)
            variance = sum(
                (named[one].variance or 0.0) / _planned(info, one) for one in (name, info.control)
            )
            widths.append(float(half_width(variance**0.5, planned, planned, alpha)))
    return max(widths)


def _sentences(*parts: str) -> str:
    """The parts that are not empty, as one line."""
    return "; ".join(part for part in parts if part) + "."
