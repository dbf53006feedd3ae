"""What is measured of a trial at a rung and at its last step, and the resulting metrics."""

from __future__ import annotations

from collections.abc import Iterator

from align.methods import Kind
from align.recipe.schema import StageSchema
from align.space.constraints import Constraint, needed, read_constraint
from align.space.optuna_names import PAIRED
from align.suggestions import did_you_mean

_BY_OBJECTIVE: dict[str, tuple[Kind, ...]] = {
    "accuracy": ("answers",),
    "reward": ("answers",),
    "win_rate": ("answers", "wins"),
    "nll": ("completions",),
    "label_auc": ("labels",),
}
#: The kind that is measured of a parent and a base, for a kind of a trial.
ABSOLUTE: dict[Kind, Kind] = {
    "answers": "answers",
    "pairs": "pairs",
    "implied": "pairs",
    "completions": "completions",
}
#: Metrics that a pass of each kind gives; `…/` stands for a metric per reward or kind of pair.
METRICS: dict[Kind, tuple[str, ...]] = {
    "answers": (
        "accuracy", "mean_reward", "reward/", "length", "tokens", "truncated", "repetition",
        "reward_length_correlation",
    ),
    "wins": ("win_rate",),
    "pairs": ("pair_accuracy", "pair_accuracy/", "margin", "longer_rule"),
    "implied": (
        "pair_accuracy", "pair_accuracy/", "margin", "longer_rule", "implicit_pair_accuracy",
        "implicit_margin",
    ),
    "completions": ("nll",),
    "labels": ("label_auc",),
    "divergence": ("kl_per_token", "kl_per_answer"),
}  # fmt: skip
#: Metrics with a value of each item, by which trials can be compared at rungs, and their kinds.
RUNG_METRICS: dict[str, Kind] = {
    "accuracy": "answers",
    "mean_reward": "answers",
    "nll": "completions",
    "pair_accuracy": "pairs",
    "margin": "pairs",
    "pair_loss": "pairs",
    "implicit_pair_accuracy": "implied",
    "implicit_margin": "implied",
    "label_margin": "labels",
}
#: Metrics of the answers' length; if a constraint uses them, they are measured at every rung.
LENGTHS = ("length", "tokens", "truncated")


def rung_metric(stage: StageSchema) -> str | None:
    """The metric by which the stage's trials are compared at rungs; None for the objective.

    The recipe's; else the method's for the pruner `paired`, and the objective for Optuna's pruners.
    """
    sweep = stage.sweep
    by_method = stage.training_method.rung_metric if sweep.pruner == PAIRED else None
    return by_method if sweep.rung_metric is None else sweep.rung_metric


def rung_metrics(stage: StageSchema) -> dict[str, Kind]:
    """The metrics by which trials of the stage can be compared at rungs, with their kinds."""
    method = stage.training_method
    allowed = {
        metric: kind
        for metric, kind in RUNG_METRICS.items()
        if kind in method.measured and (metric != "pair_loss" or method.trains_reward_model)
    }
    if "implied" in method.measured:
        allowed |= {"pair_accuracy": "implied", "margin": "implied"}
    if method.online or stage.rewards:
        allowed["sampled_reward"] = "sampled"
    if stage.reward_model is not None and not method.trains_reward_model:
        allowed["win_rate"] = "wins"
    return allowed


def rung_minimised(metric: str) -> bool:
    """Whether a lower value of a rung metric is better."""
    return metric in ("nll", "pair_loss")


def for_objective(stage: StageSchema) -> tuple[Kind, ...]:
    """The kinds that the objective needs."""
    measured = stage.training_method.measured
    if stage.objective == "pair_accuracy":
        return tuple(kind for kind in measured if kind in ("pairs", "implied"))
    return _BY_OBJECTIVE[stage.objective]


def at_rung(stage: StageSchema) -> tuple[Kind, ...]:
    """The kinds that the rung metric needs, and `answers` if a constraint bounds their length."""
    metric = rung_metric(stage)
    kinds = for_objective(stage) if metric is None else (rung_metrics(stage)[metric],)
    if kinds == ("wins",):
        kinds = ("answers", "wins")  # the judge compares answers
    answers = "answers" in stage.training_method.measured and "answers" not in kinds
    bound = answers and not needed(stage.constraints).isdisjoint(LENGTHS)
    return ("answers", *kinds) if bound else kinds


def at_end(stage: StageSchema) -> tuple[Kind, ...]:
    """All kinds that the stage's method and its reward model allow."""
    judged = stage.reward_model is not None and not stage.training_method.trains_reward_model
    kinds: tuple[Kind, ...] = (*stage.training_method.measured, *(("wins",) if judged else ()))
    return tuple(dict.fromkeys((*for_objective(stage), *kinds)))


def wrong_rung_metric(stage: StageSchema) -> str | None:
    """Why `sweep.rung_metric` cannot compare the stage's trials; None if it can."""
    name, allowed = stage.sweep.rung_metric, rung_metrics(stage)
    if name is None or name in allowed:
        return None
    hint = did_you_mean(name, allowed, before="; ")
    return f"{stage.method} cannot be compared by {name!r}{hint}; allowed: {', '.join(allowed)}"


def kind_of(stage: StageSchema, metric: str) -> Kind | None:
    """The kind that gives this metric of a trial; None if the stage does not measure it."""
    return next((kind for kind in at_end(stage) if _gives(kind, metric)), None)


def kind_beside(stage: StageSchema, metric: str) -> Kind | None:
    """The kind that gives this metric of the stage's parent and base; None if none does.

    A reward model's margin is not comparable: it is of scores, a parent's of log-probabilities.
    """
    if stage.training_method.trains_reward_model and metric == "margin":
        return None
    kinds = dict.fromkeys(ABSOLUTE[kind] for kind in at_end(stage) if kind in ABSOLUTE)
    return next((kind for kind in kinds if _gives(kind, metric)), None)


def measures(stage: StageSchema, beside: bool = False) -> list[str]:
    """The metrics of a trial at its last step, or with `beside` of its parent and base."""
    find = kind_beside if beside else kind_of
    names = dict.fromkeys(metric for names in METRICS.values() for metric in names)
    return [name for name in names if find(stage, name)]


def unmeasured(stage: StageSchema) -> Iterator[tuple[int, str]]:
    """Indices of constraints that cannot be parsed or use metrics not measured; the reasons."""
    for index, text in enumerate(stage.constraints):
        try:
            reasons = list(_lacking(stage, read_constraint(text)))
        except ValueError as error:
            reasons = [str(error)]
        yield from ((index, reason) for reason in reasons)


def _lacking(stage: StageSchema, constraint: Constraint) -> Iterator[str]:
    if kind_of(stage, constraint.metric) is None:
        judge = (
            "; it needs a judge: the field reward_model" if constraint.metric == "win_rate" else ""
        )
        yield f"{stage.method} measures no '{constraint.metric}'" + (
            judge or _near(constraint.metric, stage)
        )
    for system, metric in constraint.beside:
        name = f"{system}.{metric}"
        if system == "parent" and stage.parent is None:
            yield f"{name}: this stage has no parent; use base.{metric}"
        elif kind_beside(stage, metric) is None:
            measured = [f"{system}.{name}" for name in measures(stage, beside=True)]
            yield f"nothing measures {name}; allowed: {_listed(measured)}"


def _near(metric: str, stage: StageSchema) -> str:
    metrics = measures(stage)
    return did_you_mean(metric, metrics, before="; ") or f"; allowed: {_listed(metrics)}"


def _listed(names: list[str]) -> str:
    return ", ".join(f"{name}<name>" if name.endswith("/") else name for name in names)


def _gives(kind: Kind, metric: str) -> bool:
    family, slash, _ = metric.partition("/")
    return family + slash in METRICS[kind]
