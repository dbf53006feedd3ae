"""Figures and events of a sweep as text. Pure."""

from __future__ import annotations

import math

from align.evaluation.result_text import difference_text, estimate_text, evidence_text
from align.evaluation.statistics import Paired
from align.space.spaces import Value
from sweeps.answer import over_default_text, probability_text
from sweeps.events import (
    Event,
    FinalistMeasured,
    MilestoneReported,
    PoolChanged,
    SearchStopped,
    StageStarted,
    TrialFinished,
    TrialPaused,
    TrialRetried,
    TrialStarted,
    WorkerWarned,
)
from sweeps.finalists import Entry, Standing
from sweeps.results.baseline import beside_default
from sweeps.trials import DEFAULT


def short(name: str) -> str:
    """A column's title for a dotted field."""
    return {"lora.r": "rank", "learning_rate": "lr"}.get(name, name.removeprefix("lora."))


def value_text(value: Value | None) -> str:
    """A parameter in a few characters."""
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def objective_text(value: float | None) -> str:
    """An objective, or a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"


def lines(event: Event) -> list[str]:
    """An event as plain lines: the notes of a stage's start have lines of their own."""
    if not isinstance(event, StageStarted):
        return [line(event)]
    notes = [" ".join(f"{event.stage}: {note}".split()) for note in event.notes]
    return [line(event), *notes]


def line(event: Event) -> str:
    """An event as a single plain line, without notes; line breaks in reports become spaces."""
    return " ".join(_told(event).split())


def _told(event: Event) -> str:
    if isinstance(event, StageStarted):
        return _started(event)
    if isinstance(event, TrialStarted):
        params = ", ".join(f"{short(name)} {value_text(v)}" for name, v in event.params.items())
        resumed = f" goes on after step {event.step}" if event.step else ""
        return f"{event.stage} trial {event.number}{resumed}: {params or 'defaults'}"
    if isinstance(event, MilestoneReported):
        return _measured(event)
    if isinstance(event, TrialPaused):
        return f"{event.stage} trial {event.number}: waits for the others at its rung"
    if isinstance(event, TrialRetried):
        text = f"{event.stage} trial {event.number}: its worker ended, another goes on"
        return f"{text}: {event.reason}"
    if isinstance(event, TrialFinished):
        reason = f": {event.trial.reason}" if event.trial.reason else ""
        return f"{event.stage} trial {event.trial.number}: {event.trial.state}{reason}"
    if isinstance(event, WorkerWarned):
        return f"{event.stage} {event.remark}"
    if isinstance(event, SearchStopped):
        return f"{event.stage}: {event.stop.text}"
    if isinstance(event, FinalistMeasured):
        name = system_name(event)
        return f"{event.stage} {name} on unseen items: objective {objective_text(event.objective)}"
    if isinstance(event, PoolChanged):
        return f"pool: {pool_text(event)}"
    budget = f" of {event.budget_seconds:.0f} s" if event.budget_seconds else ""
    unseen = f"; {standing_text(event.unseen)}" if event.unseen else ""
    return (
        f"{event.name}: trial {event.best.number}, objective "
        f"{objective_text(event.best.objective)}, "
        f"{beside_default(event.trials, event.best, event.gain)}, {event.seconds:.0f} s{budget}"
        + unseen
        + (" (searched before; --fresh searches anew)" if event.reused else "")
    )


def system_name(event: FinalistMeasured) -> str:
    """`trial 3`, `parent` or `base`."""
    return event.name or ("parent or base" if event.number is None else f"trial {event.number}")


def pool_text(pool: PoolChanged) -> str:
    """The pool's nodes, and how many trials they hold."""
    nodes = "1 node" if pool.nodes == 1 else f"{pool.nodes} nodes"
    return f"{nodes}, room for {pool.slots} trial{'' if pool.slots == 1 else 's'} at once"


def standing_text(unseen: Standing) -> str:
    """The chosen trial on unseen items, with its interval, against default and parent."""
    chosen = next(system for system in unseen.systems if system.number == unseen.chosen)
    measure = unseen.measure
    figure = estimate_text(measure, chosen.objective, chosen.low, chosen.high)
    text = f"on {chosen.items or unseen.items} unseen items {measure} {figure}"
    for name, gain in differences_of(chosen).items():
        text += f", to the {name} {difference_text(measure, gain)}"
    if unseen.chosen == DEFAULT:
        text += f"; {over_default_text(unseen)}"
    elif unseen.probability is not None:
        text += f", really better with a probability of {probability_text(unseen.probability)}"
    if unseen.chosen != unseen.searched_best:
        text += f"; trial {unseen.searched_best} was best in the search"
    return text


def differences_of(system: Entry) -> dict[str, Paired]:
    """A system's differences to the default, the parent and the base, where there are any."""
    sides = {
        "default": system.against_default,
        "parent": system.against_parent,
        "base": system.against_base,
    }
    return {name: gain for name, gain in sides.items() if gain is not None}


def evidence_lines(unseen: Standing) -> list[str]:
    """What the unseen items show, and do not show, of the chosen trial; a line for each side."""
    chosen = next(system for system in unseen.systems if system.number == unseen.chosen)
    name = "default" if chosen.number == 0 else chosen.name
    return [
        f"{name} to the {side}, {unseen.measure} {difference_text(unseen.measure, gain)}: "
        f"{evidence_text(unseen.measure, gain)}"
        for side, gain in differences_of(chosen).items()
    ]


def _started(event: StageStarted) -> str:
    earlier = f", {len(event.earlier)} begun earlier" if event.earlier else ""
    return (
        f"{event.line} run {event.run}: {event.trials} trials of {event.steps} steps, "
        f"{event.concurrent} at a time{earlier}"
    )


def _measured(event: MilestoneReported) -> str:
    milestone = event.milestone
    figure = f"objective {objective_text(milestone.objective)}"
    if event.rung_metric is not None and not milestone.last:
        figure = f"{event.rung_metric} {objective_text(milestone.decisive)}"
    violation = milestone.metrics.get("violation", 0.0)
    violation_text = f", breaks a constraint by {violation:.0%}" if violation > 0 else ""
    return (
        f"{event.stage} trial {event.number}: step {milestone.step}/{milestone.total}, "
        f"{figure}{violation_text}, "
        f"{milestone.metrics.get('seconds', 0.0):.1f} s"
    )
