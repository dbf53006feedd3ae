"""The time that trials of a stage take: measured by an earlier sweep of its line, or calculated."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from align.data.user_rows import Row
from align.errors import AligneryError
from align.memory.duration import Range, measured_seconds, step_seconds
from align.memory.machines import Machine
from align.memory.shape import ModelShape
from align.memory.workload import workload
from align.recipe import Recipe
from align.recipe.metric_schedule import at_end, at_rung
from cluster.database import open_database
from cluster.registry import open_registry
from cluster.settings import Settings
from sweeps.study.storage import read_trials
from sweeps.sweep_store import FINISHED, sweeps
from sweeps.trials import TrialSummary

#: Characters in a token of English text, roughly; tokens that a row's template adds.
_CHARACTERS, _TEMPLATE = 4, 30
#: Rows that are read to estimate the length of sequences.
_LOOKED = 64
#: Seconds of a worker's start (imports, loading the base) and of a trial's start (building trainer
#: and optimizer), on machines between a laptop and a spot node with a cold disk.
WORKER_SECONDS, TRIAL_SECONDS = Range(10, 60), Range(1, 5)
#: Factors by which a measured time varies from run to run.
_MEASURED = Range(0.9, 1.2)


@dataclass(frozen=True)
class Pace:
    """Seconds of an optimizer step, of measuring at a rung and at the end, and of a trial's start.

    `source` is the study that they are from, or `rough`.
    """

    step: Range
    rung: Range
    end: Range
    begin: Range
    source: str


def find_pace(
    settings: Settings, recipe: Recipe, stage: str, machine: Machine, shape: ModelShape, cores: int
) -> Pace:
    """The pace measured on the stage's line on this kind of machine, else the calculated pace."""
    return measured_pace(settings, recipe.line(stage), machine) or rough_pace(
        recipe, stage, machine, shape, cores
    )


def measured_pace(settings: Settings, line: str, machine: Machine) -> Pace | None:
    """The pace of a line's newest finished sweep that was trained on such a machine, or None."""
    if settings.database_file is not None and not settings.database_file.exists():
        return None  # opening the database would create the file
    database = open_database(settings)
    try:
        rows = [row for row in sweeps(database, line) if row.state == FINISHED]
    finally:
        database.close()
    kinds = (
        {
            version.adapter_id: (version.manifest.accelerator_seconds > 0, version.manifest.dtype)
            for version in open_registry(settings).versions(line)
        }
        if rows
        else {}
    )
    machine_kind = (machine.device == "cuda", machine.dtype)
    for row in reversed(rows):
        if kinds.get(row.adapter_id or "") == machine_kind:
            return pace_of(read_trials(settings, row.study), row.study)
    return None


def pace_of(trials: Iterable[TrialSummary], study: str) -> Pace | None:
    """The medians of the times that trials recorded; None if they recorded none."""
    steps: list[float] = []
    rungs: list[float] = []
    ends: list[float] = []
    begins: list[float] = []
    for trial in trials:
        previous = 0
        for step, metrics in trial.rungs.items():
            if "seconds_train" in metrics and step > previous:
                steps.append(metrics["seconds_train"] / (step - previous))
                last = trial.state == "COMPLETE" and step == trial.step
                (ends if last else rungs).append(metrics.get("seconds_evaluate", 0.0))
                if not previous:
                    begins.append(metrics.get("seconds_load", 0.0))
            previous = step
    if not steps:
        return None
    return Pace(
        step=_around(steps),
        rung=_around(rungs or ends),
        end=_around(ends or rungs),
        begin=_around(begins),
        source=study,
    )


def rough_pace(recipe: Recipe, stage: str, machine: Machine, shape: ModelShape, cores: int) -> Pace:
    """A calculated pace, for the default trial on rows as long as those of the stage's data."""
    config, data = recipe.stages[stage].resolve(), recipe.data_of(stage)
    work, tokens = workload(config, shape), _tokens(recipe, stage)
    answer = recipe.evaluation.max_new_tokens
    rung, end = (
        measured_seconds(kinds, data.validation, tokens.whole, answer, shape, machine, cores)
        for kinds in (at_rung(config), at_end(config))
    )
    low, high = (
        step_seconds(work, shape, machine, min(length, work.length), cores)
        for length in (tokens.typical, tokens.whole)
    )
    return Pace(Range(low.low, high.high), rung, end, TRIAL_SECONDS, "rough")


@dataclass(frozen=True)
class _Tokens:
    """Tokens of a training sequence: typical, and the most where the typical length is a guess."""

    typical: int
    whole: int


def _tokens(recipe: Recipe, stage: str) -> _Tokens:
    """Tokens of a training sequence, counted from the characters of rows.

    Rows on a hub are not downloaded; their tokens are derived from `max_length`.
    """
    config, data = recipe.stages[stage], recipe.data_of(stage)
    online = config.training_method.online
    completion = config.max_completion_length if online else 0
    longest = 4 * completion if online else config.max_length
    try:
        rows = [] if data.dataset is not None else _rows(recipe, stage)
    except AligneryError:  # the check of the inputs reports it
        rows = []
    if not rows:
        return _Tokens(max(8, longest // 4), longest)
    characters = [sum(map(_characters, row.values())) for row in rows]
    pairs = config.training_method.sequences
    typical = round(statistics.mean(characters) / _CHARACTERS / max(1.0, pairs * 0.75)) + _TEMPLATE
    return _Tokens(typical + completion, typical + completion)


def _rows(recipe: Recipe, stage: str) -> Sequence[Row]:
    from align.data.splits import load_split

    return load_split(recipe, stage, "train")[:_LOOKED]


def _characters(value: object) -> int:
    """Characters of a row's messages; other columns hold no text for the model."""
    if not isinstance(value, list):
        return 0
    return sum(
        len(str(message.get("content", ""))) for message in value if isinstance(message, dict)
    )


def _around(values: Sequence[float]) -> Range:
    middle = statistics.median(values) if values else 0.0
    return Range(middle * _MEASURED.low, middle * _MEASURED.high)
