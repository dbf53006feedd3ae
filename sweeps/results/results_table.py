"""The final table: the base and every stage's best on items that no search saw. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rich.table import Table

from align.data.splits import load_split
from align.evaluation.metrics import Evaluation, Paired, is_share, longer_rule, paired, wilson
from align.evaluation.result_text import difference_text, evidence_text
from align.evaluation.statistics import bound_or_none
from align.recipe import Recipe
from sweeps.answer import over_default_text, plain_over_default
from sweeps.results.baseline import beside_default
from sweeps.results.sweep_result import SweepResult
from sweeps.trials import DEFAULT

BASE = "base"


def pair_rule(recipe: Recipe, stage: str) -> float:
    """Pair accuracy of "the longer answer is right" on the final pairs of a reward stage.

    Pairs of equal answers are left out, as they are of the stage's own pair accuracy.
    """
    pairs = load_split(recipe, stage, "test")
    rows = [row for row in pairs if row["chosen"] != row["rejected"]]
    texts = [["".join(turn["content"] for turn in row[side]) for row in rows] for side in _SIDES]
    return longer_rule(*texts)


_SIDES = ("chosen", "rejected")


def summary(
    recipe: Recipe, sweeps: Mapping[str, SweepResult], measured: Mapping[str, Evaluation]
) -> dict[str, dict[str, Any]]:
    """For each stage: its adapter, its figures beside its parent's, and the search's trials."""
    result: dict[str, dict[str, Any]] = {}
    for name, sweep in sweeps.items():
        config, own = recipe.stages[name], measured[name]
        parent = measured.get(config.parent or BASE)  # a registered parent was not measured
        entry: dict[str, Any] = {"adapter": sweep.version.name, **own.metrics()}
        if config.training_method.trains_reward_model:
            entry["pair_interval"] = _share_interval(own.pairs)
            entry["longer_rule"] = pair_rule(recipe, name)
        else:
            entry["accuracy_interval"] = _share_interval(own.correct)
            for key, ours, theirs in _comparable(own, parent) if parent else ():
                entry[f"parent_{key}"] = parent.metrics().get(key) if parent else None
                entry[f"{key}_gain"] = _plain_gain(paired(ours, theirs, share=is_share(key)))
        entry |= {
            "trials": len(sweep.trials),
            "pruned": sweep.pruned,
            "failed": sweep.failed,
            "best": dict(sweep.best.params),
        }
        if sweep.gain is not None:
            entry["default_gain"] = _plain_gain(sweep.gain.gain)
        entry["over_default"] = None if sweep.unseen is None else plain_over_default(sweep.unseen)
        result[name] = entry
    return result


def _share_interval(values: Sequence[float]) -> list[float] | None:
    return list(wilson(sum(values), len(values))) if values else None


def _plain_gain(gain: Paired) -> list[float | None]:
    """The difference and its interval's bounds as JSON has them."""
    return [bound_or_none(value) for value in (gain.difference, gain.low, gain.high)]


def _comparable(own: Evaluation, parent: Evaluation) -> list[tuple[str, list[float], list[float]]]:
    """What was measured of both systems on the same items: (measure, own, parent's)."""
    lists = (
        ("accuracy", own.correct, parent.correct),
        ("mean_reward", own.reward, parent.reward),
        ("pair_accuracy", own.pairs, parent.pairs),
    )
    return [(key, a, b) for key, a, b in lists if a and len(a) == len(b)]


def table(
    measured: Mapping[str, Evaluation], sweeps: Mapping[str, SweepResult], items: int
) -> Table:
    """All systems side by side, with the adapters that the stages' searches became.

    "Over the default" is the difference of a search's objective between its winner and trial 0, on
    the unseen items on which the winner was chosen.
    """
    # Columns are close, so that the names of adapters fit a terminal of 80.
    shown = Table(
        box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", title_justify="left"
    )
    shown.title = f"{items} final items that no search saw"
    for column in ("system", "adapter", "accuracy", "reward", "pairs", "length"):
        left = column in ("system", "adapter")
        # Names may be long; figures stay whole.
        shown.add_column(
            column, justify="left" if left else "right", no_wrap=not left, overflow="fold"
        )
    shown.add_column("over the\ndefault", justify="right")
    for name, evaluation in measured.items():
        metrics, sweep = evaluation.metrics(), sweeps.get(name)
        shown.add_row(
            name,
            "–" if sweep is None else sweep.version.name,
            _accuracy(evaluation),
            f"{metrics['mean_reward']:.3f}" if "mean_reward" in metrics else "–",
            _percent(metrics.get("pair_accuracy")),
            f"{metrics['length']:.0f}" if "length" in metrics else "–",
            _over_default(sweep),
        )
    return shown


def _accuracy(evaluation: Evaluation) -> str:
    """A cell of two lines: the share, and its 95 % interval below it."""
    if not evaluation.correct:
        return "–"
    low, high = wilson(sum(evaluation.correct), len(evaluation.correct))
    return f"{fmean(evaluation.correct):.1%}\n{low:.0%}–{high:.0%}"


def _over_default(sweep: SweepResult | None) -> str:
    """A cell of two lines: the measure and its difference, and the interval below it."""
    if sweep is None:
        return "–"
    if sweep.best.number == DEFAULT:
        return "the default won"
    unseen = sweep.unseen
    gain = None if unseen is None else unseen.winner.against_default
    if unseen is None or gain is None:
        return "–"
    difference, _, interval = difference_text(unseen.measure, gain).partition(" (")
    bounds = interval.partition(")")[0]
    return f"{unseen.measure} {difference}" + (f"\n{bounds}" if bounds else "")


def verdicts(
    recipe: Recipe,
    measured: Mapping[str, Evaluation],
    shots: str | None = None,
    sweeps: Mapping[str, SweepResult] | None = None,
) -> list[str]:
    """What the figures say of each stage, good or bad, in a line each.

    With `sweeps` also how each search's best compares with the recipe's defaults: on unseen items
    where finalists were measured there, else on validation items.
    """
    lines = []
    for name, config in recipe.stages.items():
        own, parent = measured.get(name), measured.get(config.parent or BASE)
        if own is None or parent is None:
            continue
        if config.training_method.trains_reward_model:
            if not own.pairs:
                lines.append(f"{name}: no pair was measured")
                continue
            rule = pair_rule(recipe, name)
            low, _ = wilson(sum(own.pairs), len(own.pairs))
            verb = "beats" if low > rule else "does not clearly beat"
            lines.append(
                f'{name}: {fmean(own.pairs):.1%} of pairs right; {verb} "the longer answer is '
                f'right" ({rule:.1%})'
            )
            continue
        key = config.training_method.verdict
        values = [(a, b) for measure, a, b in _comparable(own, parent) if measure == key]
        if values:
            gain = paired(*values[0], share=is_share(key))
            lines.append(f"{name}: {_against(key, gain, config.parent or BASE)}")
    lines += [_search(recipe, name, sweep) for name, sweep in (sweeps or {}).items()]
    if shots is not None and measured[shots].correct and measured[BASE].correct:
        lines.append(
            f"worked examples alone: {fmean(measured[shots].correct):.1%} "
            f"against the plain base's {fmean(measured[BASE].correct):.1%}"
        )
    return lines


def _search(recipe: Recipe, stage: str, sweep: SweepResult) -> str:
    best = sweep.best
    if sweep.unseen is not None:
        return f"{stage}, the search: {over_default_text(sweep.unseen)}"
    return (
        f"{stage}, the search: best {recipe.stages[stage].objective} {best.objective:.4g} "
        f"(trial {best.number}), {beside_default(sweep.trials, best, sweep.gain)}"
    )


def _against(key: str, gain: Paired, parent: str) -> str:
    words = key.replace("_", " ")
    return f"{words} {difference_text(key, gain)} against {parent}: {evidence_text(key, gain)}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
