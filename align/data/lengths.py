"""The lengths of a stage's rows in tokens, and how its trainer treats rows that are too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align.chat_tools import chat_ids
from align.data.splits import fingerprint
from align.data.tool_rendering import check_tool_answers
from align.data.user_rows import Row
from align.digests import tokenizer_digest
from align.errors import DataError
from align.lru_cache import Remembered
from align.methods import METHODS, MethodName
from align.methods.specification import TRUNCATION, Fate


@dataclass(frozen=True)
class Lengths:
    """Counts of a stage's rows by how they fit its `max_length` (0: no limit).

    `longest` is the length of the longest row, prompt and answer, in tokens. `too_long` rows are
    cut: they lose the end of the answer, or with `keep_end` the beginning of the prompt. `left_out`
    rows are not trained on: nothing of the answer would be left, or not the whole pair of a reward
    model.
    """

    rows: int
    longest: int
    too_long: int
    left_out: int
    max_length: int

    def sentence(self) -> str:
        """A line for the user; empty if no row is cut or left out."""
        parts = []
        if self.too_long:
            parts.append(f"{self.too_long} of {self.rows} rows are cut")
        if self.left_out:
            parts.append(f"{self.left_out} of {self.rows} are left out")
        if not parts:
            return ""
        return (
            f"{' and '.join(parts)} at max_length {self.max_length}; "
            f"the longest has {self.longest} tokens"
        )


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
    measured = _measured(tokenizer, rows, method)
    fates = _fates(measured, method, max_length, options)
    lengths = Lengths(
        rows=len(rows),
        longest=max((max(row.whole) for row in measured), default=0),
        too_long=fates.count("cut"),
        left_out=fates.count("left out"),
        max_length=max_length or 0,
    )
    _check(lengths, method, int(options["per_device_train_batch_size"]))
    return lengths


def trainable(
    tokenizer: Any, rows: list[Row], method: MethodName, max_length: int | None
) -> list[Row]:
    """The rows for a trainer; without those left out, where TRL itself would train on them."""
    if not METHODS[method].keeps_empty_rows:
        return rows
    fates = _fates(_measured(tokenizer, rows, method), method, max_length, TRUNCATION)
    return [row for row, fate in zip(rows, fates, strict=True) if fate != "left out"]


def _fates(
    measured: Sequence[_Measured],
    method: MethodName,
    max_length: int | None,
    options: Mapping[str, Any],
) -> list[Fate]:
    if not max_length:
        return ["whole"] * len(measured)
    fate = METHODS[method].fate
    return [fate(row.prompt, max(row.whole), max_length, options) for row in measured]


@dataclass(frozen=True)
class _Measured:
    """Token counts of a row's prompt, and of each whole conversation that is trained on."""

    prompt: int
    whole: tuple[int, ...]


#: The last few measured sets of rows: all trials of a stage share them at any `max_length`.
_KNOWN: Remembered[list[_Measured]] = Remembered(4)


def _measured(tokenizer: Any, rows: Sequence[Row], method: MethodName) -> list[_Measured]:
    key = method, tokenizer_digest(tokenizer), fingerprint(list(rows))
    return _KNOWN.of(key, lambda: [_measure(tokenizer, row, method) for row in rows])


def _measure(tokenizer: Any, row: Row, method: MethodName) -> _Measured:
    prompt = chat_ids(tokenizer, row["prompt"], add_generation_prompt=True)
    wholes = [chat_ids(tokenizer, [*row["prompt"], *row[side]]) for side in METHODS[method].sides]
    # The answer begins where prompt and conversation differ, as in TRL's `common_prefix_length`.
    shared = min((_shared(prompt, whole) for whole in wholes), default=len(prompt))
    return _Measured(shared, tuple(len(whole) for whole in wholes) or (len(prompt),))


def _shared(first: list[int], second: list[int]) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(first), len(second)))


def _check(lengths: Lengths, method: MethodName, batch: int) -> None:
    remaining, limit = lengths.rows - lengths.left_out, lengths.max_length
    if METHODS[method].online and lengths.too_long:
        raise DataError(
            f"{lengths.too_long} of {lengths.rows} prompts are longer than the {limit} tokens "
            f"that are left beside max_completion_length; the longest has {lengths.longest}: "
            "shorten them, or lower max_completion_length"
        )
    if lengths.left_out and remaining < max(1, batch):
        usable = (
            "no row" if remaining == 0 else f"only {remaining}, less than a micro-batch of {batch},"
        )
        raise DataError(
            f"max_length {limit} leaves {usable} of {lengths.rows} rows to train on: "
            f"{METHODS[method].left_out_because}. The longest row has {lengths.longest} tokens: "
            f"raise max_length to {lengths.longest}, or shorten the rows"
        )
