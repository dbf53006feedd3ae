"""Measurements of preferences: pairs ranked by a system, and answers that are labelled."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from align.data.problems import Split
from align.data.user_rows import Row
from align.errors import DataError
from align.evaluation.examples import named
from align.evaluation.metrics import Evaluation, compare
from align.evaluation.systems import Systems
from align.evaluation.ties import settled

_SIDES = ("chosen", "rejected")


def rank_pairs(
    systems: Systems, adapter: Path | None, rows: Sequence[Row], split: Split, *, by_score: bool
) -> Evaluation:
    """Pair accuracy of a system: by a reward model's score, or by summed log-probability.

    Pairs whose sides have the same token ids state no preference and are left out; DataError if no
    other is there. The base has no score, so it is ranked by likelihood.
    """
    started, by_score = time.perf_counter(), by_score and adapter is not None
    rows = _with_preference(systems, rows, split)
    chosen, rejected = _sums(systems, adapter, rows, by_score)
    return Evaluation(
        system="",
        split=split,
        pairs=[compare(a, b, systems.rounding) for a, b in zip(chosen, rejected, strict=True)],
        pair_kinds=[str(row["kind"]) for row in rows if "kind" in row],
        margins=[a - b for a, b in zip(chosen, rejected, strict=True)],
        longer=[compare(*(_characters(row[side]) for side in _SIDES)) for row in rows],
        chosen_scores=chosen if by_score else [],
        seconds=time.perf_counter() - started,
        **named("pairs", rows, *_SIDES),
    )


def imply_pairs(
    systems: Systems, adapter: Path | None, parent: Path | None, rows: Sequence[Row], split: Split
) -> Evaluation:
    """`rank_pairs` of a policy, with `implicit_margins`: its margins minus its parent's.

    These are differences of DPO's implicit reward over beta (Rafailov et al., arXiv 2305.18290, eq.
    5), so trials of different beta can be compared by them. A difference within rounding is 0.
    """
    started = time.perf_counter()
    measured = rank_pairs(systems, adapter, rows, split, by_score=False)
    rows = _with_preference(systems, rows, split)
    theirs = _sums(systems, parent, rows, by_score=False)
    magnitudes = [max(map(abs, pair)) for pair in zip(*theirs, strict=True)]
    measured.implicit_margins = [
        settled(margin - (chosen - rejected), magnitude, systems.rounding)
        for margin, chosen, rejected, magnitude in zip(
            measured.margins, *theirs, magnitudes, strict=True
        )
    ]
    measured.seconds = time.perf_counter() - started
    return measured


def rate_labels(
    systems: Systems, adapter: Path | None, parent: Path | None, rows: Sequence[Row], split: Split
) -> Evaluation:
    """Log-ratios of an adapter to its parent on liked and disliked completions.

    Rows whose token ids are labelled good and bad are left out; DataError if no other is there. A
    ratio within rounding of 0 is 0.
    """
    started = time.perf_counter()
    rows = _with_one_label(systems, rows, split)
    cuts = [systems.cut([*row["prompt"], *row["completion"]]) for row in rows]
    ours, theirs = (systems.log_probabilities(folder, cuts) for folder in (adapter, parent))
    return Evaluation(
        system="",
        split=split,
        log_ratios=[
            settled(a - b, max(abs(a), abs(b)), systems.rounding)
            for a, b in zip(ours, theirs, strict=True)
        ],
        liked=[float(row["label"]) for row in rows],
        seconds=time.perf_counter() - started,
        **named("labels", rows, "completion", "label"),
    )


def _sums(
    systems: Systems, adapter: Path | None, rows: Sequence[Row], by_score: bool
) -> tuple[list[float], list[float]]:
    """Of each pair, the score or the summed log-probability of the chosen and the rejected side."""
    conversations = [[*row["prompt"], *row[side]] for side in _SIDES for row in rows]
    if by_score and adapter is not None:
        values = systems.scores(adapter, conversations)
    else:
        cuts = [systems.cut(conversation) for conversation in conversations]
        values = systems.log_probabilities(adapter, cuts)
    return values[: len(rows)], values[len(rows) :]


def _with_preference(systems: Systems, rows: Sequence[Row], split: Split) -> list[Row]:
    """The pairs whose sides differ in their token ids."""
    differing = [
        row
        for row in rows
        if systems.whole([*row["prompt"], *row["chosen"]])
        != systems.whole([*row["prompt"], *row["rejected"]])
    ]
    if rows and not differing:
        raise DataError(
            f"none of the {len(rows)} {split} pairs states a preference: chosen and rejected are "
            "the same, so nothing can be measured on them: correct the rows"
        )
    return differing


def _with_one_label(systems: Systems, rows: Sequence[Row], split: Split) -> list[Row]:
    """The rows whose token ids are labelled good alone, or bad alone."""
    conversations = [tuple(systems.whole([*row["prompt"], *row["completion"]])) for row in rows]
    labels: dict[tuple[int, ...], set[bool]] = {}
    for row, ids in zip(rows, conversations, strict=True):
        labels.setdefault(ids, set()).add(bool(row["label"]))
    consistent = [
        row for row, ids in zip(rows, conversations, strict=True) if len(labels[ids]) == 1
    ]
    if rows and not consistent:
        raise DataError(
            f"each answer of the {len(rows)} {split} rows is labelled good and bad, so nothing can "
            "be measured on them: correct the rows"
        )
    return consistent


def _characters(turns: Sequence[Mapping[str, str]]) -> int:
    return sum(len(turn["content"]) for turn in turns)
