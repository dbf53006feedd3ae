"""The lengths of a stage's rows in tokens, and how its trainer treats rows that are too long.

Rows that state no preference are recognised here too, since two answers that differ may be equal
after the cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align.data.row_tokens import ID_BYTES, RowTokens, row_tokens
from align.data.tool_rendering import check_tool_answers
from align.data.user_rows import Row
from align.errors import DataError
from align.methods import METHODS, MethodName
from align.methods.specification import TRUNCATION, Fate


@dataclass(frozen=True)
class Lengths:
    """Counts of a stage's rows by how they fit its `max_length` (0: no limit).

    `longest` is the length of the longest row, prompt and answer, in tokens. `too_long` rows are
    cut: they lose the end of the answer, or with `keep_end` the beginning of the prompt. `left_out`
    rows are not trained on: nothing of the answer would be left, or not the whole pair of a reward
    model. Neither are the rows `without_preference`; see `row_fates`.
    """

    rows: int
    longest: int
    too_long: int
    left_out: int
    max_length: int
    without_preference: int = 0

    @property
    def used(self) -> int:
        """How many rows are trained on, whole or cut."""
        return self.rows - self.left_out - self.without_preference

    def sentence(self) -> str:
        """A line for the user; empty if no row is cut or left out."""
        parts = []
        if self.too_long:
            parts.append(f"{self.too_long} of {self.rows} rows are cut")
        if self.left_out:
            parts.append(f"{self.left_out} of {self.rows} are left out")
        text = ""
        if parts:
            text = (
                f"{' and '.join(parts)} at max_length {self.max_length}; "
                f"the longest has {self.longest} tokens"
            )
        if self.without_preference:
            tied = f"{self.without_preference} of {self.rows} rows state no preference"
            text += f"{'; ' if text else ''}{tied} and are left out"
        return text


def measure_lengths(
    tokenizer: Any,
    rows: Sequence[Row],
    method: MethodName,
    max_length: int | None,
    arguments: Mapping[str, Any] | None = None,
) -> Lengths:
    """Count which of `rows` (in conversational form) TRL's trainer of `method` cuts or leaves out.

    SFT cuts at `max_length` and drops rows of which no token with a loss is left. DPO and KTO drop
    rows whose prompt alone fills `max_length` and cut the rest. Reward models drop a pair if either
    side is longer. Prompts of online methods are neither cut nor dropped: `max_length` is then the
    limit of a prompt beside its completion. `arguments` are those of the TRL config
    (`StageConfig.trl()`).

    DataError if no row would be left, or if rows left out reduce them to fewer than a micro-batch,
    or for online methods if a prompt does not fit.
    """
    check_tool_answers(tokenizer, rows)
    options = {**TRUNCATION, **(arguments or {})}
    fates = row_fates(tokenizer, rows, method, max_length, options)
    lengths = Lengths(
        rows=len(rows),
        longest=longest_row(tokenizer, rows, method),
        too_long=fates.count("cut"),
        left_out=fates.count("left out"),
        max_length=max_length or 0,
        without_preference=fates.count("no preference"),
    )
    _check(lengths, method, int(options["per_device_train_batch_size"]))
    return lengths


def trainable(
    tokenizer: Any,
    rows: list[Row],
    method: MethodName,
    max_length: int | None,
    arguments: Mapping[str, Any] | None = None,
) -> list[Row]:
    """The rows for a trainer: without those that TRL would train on and must not.

    These are rows without a preference, and for some methods rows of which nothing would be left.
    """
    if not METHODS[method].keeps_empty_rows and not METHODS[method].preferential:
        return rows
    fates = row_fates(tokenizer, rows, method, max_length, arguments)
    excluded = {"no preference", *(["left out"] if METHODS[method].keeps_empty_rows else [])}
    return [row for row, fate in zip(rows, fates, strict=True) if fate not in excluded]


def longest_row(tokenizer: Any, rows: Sequence[Row], method: MethodName) -> int:
    """Tokens of the longest row, prompt and answer."""
    return max((max(row.whole) for row in row_tokens(tokenizer, rows, method)), default=0)


def row_fates(
    tokenizer: Any,
    rows: Sequence[Row],
    method: MethodName,
    max_length: int | None,
    arguments: Mapping[str, Any] | None = None,
) -> list[Fate]:
    """What the trainer does to each row; `arguments` as of `measure_lengths`.

    A pair states no preference if both sides have the same token ids, rendered and cut. Rows with
    labels state none if the same ids are labelled good in some row and bad in another.
    """
    options, limit = {**TRUNCATION, **(arguments or {})}, max_length or None
    measured, fate = row_tokens(tokenizer, rows, method), METHODS[method].fate
    fates: list[Fate] = ["whole"] * len(measured)
    if limit is not None:
        fates = [fate(row.prompt, max(row.whole), limit, options) for row in measured]
    if not METHODS[method].preferential:
        return fates
    contradictory = _contradictory(rows, measured, limit)
    keeps_end = METHODS[method].keeps_end(options)
    return [
        "no preference"
        if row_fate != "left out" and (index in contradictory or row.tied(limit, keeps_end))
        else row_fate
        for index, (row, row_fate) in enumerate(zip(measured, fates, strict=True))
    ]


def _contradictory(
    rows: Sequence[Row], measured: Sequence[RowTokens], limit: int | None
) -> set[int]:
    """Indices of rows whose ids, the first `limit`, are labelled good and bad."""
    labels: dict[bytes, set[bool]] = {}
    cuts = [row.ids if limit is None else row.ids[: limit * ID_BYTES] for row in measured]
    for row, ids in zip(rows, cuts, strict=True):
        if ids:
            labels.setdefault(ids, set()).add(bool(row["label"]))
    return {index for index, ids in enumerate(cuts) if len(labels.get(ids, ())) > 1}


def _check(lengths: Lengths, method: MethodName, batch: int) -> None:
    limit = lengths.max_length
    if METHODS[method].online and lengths.too_long:
        raise DataError(
            f"{lengths.too_long} of {lengths.rows} prompts are longer than the {limit} tokens "
            f"that are left beside max_completion_length; the longest has {lengths.longest}: "
            "shorten them, or lower max_completion_length"
        )
    if lengths.used >= max(1, batch) or not lengths.left_out + lengths.without_preference:
        return
    usable = (
        "no row"
        if lengths.used == 0
        else f"only {lengths.used}, less than a micro-batch of {batch},"
    )
    if not lengths.without_preference:
        raise DataError(
            f"max_length {limit} leaves {usable} of {lengths.rows} rows to train on: "
            f"{METHODS[method].left_out_because}. The longest row has {lengths.longest} tokens: "
            f"raise max_length to {lengths.longest}, or shorten the rows"
        )
    raise DataError(_no_preferences(lengths, method, usable))


def _no_preferences(lengths: Lengths, method: MethodName, usable: str) -> str:
    limit, tied = lengths.max_length, lengths.without_preference
    cut = bool(limit) and lengths.longest > limit
    at = f" in the {limit} tokens of max_length" if cut else ""
    same = (
        f"chosen and rejected are the same{at}"
        if "chosen" in METHODS[method].sides
        else f"the same answer is labelled good and bad{at}"
    )
    too_long = (
        f", {lengths.left_out} are left out at max_length {limit}" if lengths.left_out else ""
    )
    raised = f"raise max_length (the longest row has {lengths.longest} tokens), or " if cut else ""
    return (
        f"{usable} of {lengths.rows} rows can be trained on: {tied} state no preference, since "
        f"{same}{too_long}: {raised}correct the rows"
    )
