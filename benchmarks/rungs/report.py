"""The figures of all pruners on all stages, as plain data and as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.rungs.correlation import predictions
from benchmarks.rungs.curves import StageCurves
from benchmarks.rungs.outcome import Outcome, Truth, mean_outcome, measure
from benchmarks.rungs.replay import BRACKETS, PLACES
from benchmarks.rungs.strategies import STRATEGIES, paired
from sweeps.study.paired_pruning import PairedOptions

#: What the paired pruner is to reach: the least share of kept best, the greatest of steps.
TARGETS = {"kept_best": 0.95, "steps_share": 0.45}
OBJECTIVE, RUNG = "objective", "rung metric"
#: How each pruner is used by default: by what, and in which bracket.
_USED = dict.fromkeys(STRATEGIES, (OBJECTIVE, "asynchronous")) | {"ours": (RUNG, "synchronous")}
#: Options of the paired pruner that are compared.
_OPTIONS = [
    PairedOptions(alpha, at_least, at_most)
    for alpha, at_least, at_most in product((0.05, 0.2), (1, 2, 3), (1.0, 0.5, 0.375, 0.25))
]


@dataclass(frozen=True)
class Variant:
    """A pruner with what it compares trials by, and its bracket."""

    strategy: str
    metric: str
    bracket: str


def summary(
    stages: Sequence[StageCurves], count: int, heard: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """All figures, of `count` orders of each stage's configurations.

    `kept_best`, `kept_as_good`, `steps_share` and `regret` are by pruner, each as it is used by
    default, means over the stages; `replays` has all of them by stage. `heard` is told what begins.
    """
    truths = [Truth(stage) for stage in stages]
    variants = [Variant(*names) for names in product(STRATEGIES, (OBJECTIVE, RUNG), BRACKETS)]
    outcomes: dict[Variant, list[Outcome]] = {}
    for variant in variants:
        heard(f"{variant.strategy}, {variant.metric}, {variant.bracket}")
        outcomes[variant] = [_outcome(truth, variant, count) for truth in truths]
    used = {name: mean_outcome(outcomes[Variant(name, *how)]) for name, how in _USED.items()}
    heard("options of the paired pruner")
    return {
        "orders": count,
        "places": PLACES,
        "targets": TARGETS,
        **{
            name: {strategy: outcome.to_json()[name] for strategy, outcome in used.items()}
            for name in ("kept_best", "kept_as_good", "steps_share", "regret")
        },
        "stages": {truth.stage.stage: _stage(truth) for truth in truths},
        "replays": [
            {**asdict(variant), "stage": stage.stage, **outcome.to_json()}
            for variant, of_stages in outcomes.items()
            for stage, outcome in zip(stages, of_stages, strict=True)
        ],
        "correlations": [one.to_json() for stage in stages for one in predictions(stage)],
        "options": _options(truths),
    }


def _outcome(truth: Truth, variant: Variant, count: int) -> Outcome:
    stage = truth.stage
    metric = stage.objective if variant.metric == OBJECTIVE else stage.rung_metric
    return measure(truth, STRATEGIES[variant.strategy], metric, variant.bracket, count)


def _stage(truth: Truth) -> dict[str, Any]:
    stage = truth.stage
    return {
        "objective": stage.objective,
        "rung_metric": stage.rung_metric,
        "steps": stage.steps,
        "least_share": round(truth.least_share, 4),
        "best": sorted(truth.best),
        "as_good": sorted(truth.as_good),
        "configurations": [
            {
                "params": curve.params,
                "validation": round(stage.validation(index), 4),
                "test": round(stage.unseen(index), 4),
            }
            for index, curve in enumerate(stage.curves)
        ],
    }


def _options(truths: Sequence[Truth]) -> dict[str, Any]:
    """The paired pruner in a synchronous bracket with other options, by stage.

    Only the first trial depends on the order there, so as many orders as configurations do.
    `chosen` are the options with the fewest steps of those that keep the best often enough, or that
    miss that by least. `left_out` has for each stage what the options do that the others choose.
    """
    tried = []
    for options in _OPTIONS:
        of_stages = {
            truth.stage.stage: measure(
                truth,
                paired(options),
                truth.stage.rung_metric,
                "synchronous",
                len(truth.stage.curves),
            )
            for truth in truths
        }
        tried.append((options, of_stages))
    names = [truth.stage.stage for truth in truths]

    def chosen(others: Sequence[str]) -> tuple[PairedOptions, dict[str, Outcome]]:
        return min(tried, key=lambda one: _missed(one[1], others))

    left_out = {}
    for name in names if len(names) > 1 else ():
        options, outcomes = chosen([other for other in names if other != name])
        left_out[name] = {**asdict(options), **outcomes[name].to_json()}
    return {
        "tried": [
            {
                **asdict(options),
                **mean_outcome(list(outcomes.values())).to_json(),
                "stages": {name: outcome.to_json() for name, outcome in outcomes.items()},
            }
            for options, outcomes in tried
        ],
        "chosen": asdict(chosen(names)[0]),
        "left_out": left_out,
    }


def _missed(outcomes: Mapping[str, Outcome], stages: Iterable[str]) -> tuple[float, float]:
    """By how much the stages miss the share of kept best; then, the fewest steps."""
    outcome = mean_outcome([outcomes[name] for name in stages])
    return max(0.0, TARGETS["kept_best"] - outcome.kept_best), outcome.steps_share


def print_report(result: Mapping[str, Any], console: Console) -> None:
    """The summary as a person reads it."""
    for table in (_by_stage(result), _correlations(result), _tried(result), _pruners(result)):
        console.print(table)
        console.print()
    chosen = _options_text(result["options"]["chosen"])
    console.print(f"options nearest to the target: {chosen}", highlight=False)
    for stage, figures in result["options"]["left_out"].items():
        console.print(
            f"{stage}, with what the other stages choose: {_options_text(figures)}: "
            f"keeps the best in {figures['kept_best']:.0%} "
            f"at {figures['steps_share']:.0%} of the steps",
            highlight=False,
        )
    for row in result["replays"]:
        if (row["strategy"], row["metric"], row["bracket"]) == ("ours", *_USED["ours"]):
            console.print(
                f"{row['stage']}: ours keeps the best in {row['kept_best']:.0%} at "
                f"{row['steps_share']:.0%} of a full grid's steps "
                f"(least possible: {result['stages'][row['stage']]['least_share']:.0%})",
                highlight=False,
            )
    console.print(
        f"to reach: {TARGETS['kept_best']:.0%} at {TARGETS['steps_share']:.0%} at most",
        highlight=False,
    )


def _options_text(options: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {options[name]:g}" for name in ("alpha", "at_least", "at_most"))


def _table(titles: Sequence[str], texts: int, rows: Iterable[Sequence[str]]) -> Table:
    """The first `texts` columns stand at the left."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for index, title in enumerate(titles):
        table.add_column(title, justify="left" if index < texts else "right")
    for row in rows:
        table.add_row(*row)
    return table


_FIGURES = ("best kept", "as good", "steps", "regret")


def _figures(figures: Mapping[str, float]) -> list[str]:
    shares = [f"{figures[name]:.0%}" for name in ("kept_best", "kept_as_good", "steps_share")]
    return [*shares, f"{figures['regret']:+.3f}"]


def _pruners(result: Mapping[str, Any]) -> Table:
    names = ("kept_best", "kept_as_good", "steps_share", "regret")
    rows = [
        [name, *_USED[name], *_figures({column: result[column][name] for column in names})]
        for name in STRATEGIES
    ]
    return _table(("pruner", "compared by", "bracket", *_FIGURES), 3, rows)


def _by_stage(result: Mapping[str, Any]) -> Table:
    rows = [
        [stage, row["strategy"], row["metric"], row["bracket"], *_figures(row)]
        for stage in result["stages"]
        for row in result["replays"]
        if row["stage"] == stage
    ]
    return _table(("stage", "pruner", "compared by", "bracket", *_FIGURES), 4, rows)


def _correlations(result: Mapping[str, Any]) -> Table:
    rows = [
        [
            row["stage"],
            row["metric"],
            str(row["step"]),
            _coefficient(row["kendall"]),
            _number(row["spearman"]["value"]),
            f"{row['seconds']:.0f} s",
        ]
        for row in result["correlations"]
    ]
    return _table(("stage", "metric", "step", "Kendall's tau", "rho", "takes"), 2, rows)


def _coefficient(value: Mapping[str, float | None]) -> str:
    if value["value"] is None:
        return "–"
    return f"{_number(value['value'])} ({_number(value['low'])} to {_number(value['high'])})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"


def _tried(result: Mapping[str, Any]) -> Table:
    rows = [
        [f"{row['alpha']:g}", str(row["at_least"]), f"{row['at_most']:g}", *_figures(row)]
        for row in result["options"]["tried"]
    ]
    return _table(("alpha", "at_least", "at_most", *_FIGURES), 0, rows)
