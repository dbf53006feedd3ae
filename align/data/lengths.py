"""The lengths of a stage's rows in tokens, and how its trainer treats rows that are too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align.data.splits import fingerprint
from align.data.user_rows import Row
from align.digests import tokenizer_digest
from align.errors import DataError
from align.lru_cache import Remembered
from align.recipe.trl_fields.installed import Method

#: Fields of TRL's configs that decide what happens to a row beyond `max_length`.
_DEFAULTS = {
    "truncation_mode": "keep_start",
    "completion_only_loss": True,
    "packing": False,
    "packing_strategy": "bfd",
    "per_device_train_batch_size": 1,
}


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
    method: Method,
    max_length: int | None,
    arguments: Mapping[str, Any] | None = None,
) -> Lengths:
    """Count which of `rows` (in conversational form) TRL's trainer of `method` cuts or leaves out.

    SFT cuts at `max_length` and drops rows of which no token with a loss is left. DPO and KTO drop
    rows whose prompt alone fills `max_length` and cut the rest. Reward models drop a pair if either
    side is longer. GRPO's prompts are neither cut nor dropped: `max_length` is then the limit of a
    prompt beside its completion. `arguments` are those of the TRL config (`StageConfig.trl()`).

    DataError if no row would be left, or if rows left out reduce them to fewer than a micro-batch,
    or for GRPO if a prompt does not fit.
    """
    options = {**_DEFAULTS, **(arguments or {})}
    limit = max_length or 0
    measured = _measured(tokenizer, rows, method)
    fates = [_fate(row, method, limit, options) for row in measured] if limit else []
    lengths = Lengths(
        rows=len(rows),
        longest=max((max(row.whole) for row in measured), default=0),
        too_long=fates.count("cut"),
        left_out=fates.count("left out"),
        max_length=limit,
    )
    _check(lengths, method, int(options["per_device_train_batch_size"]))
    return lengths


@dataclass(frozen=True)
class _Measured:
    """Token counts of a row's prompt, and of each whole conversation that is trained on."""

    prompt: int
    whole: tuple[int, ...]


#: The last few measured sets of rows: all trials of a stage share them at any `max_length`.
_KNOWN: Remembered[list[_Measured]] = Remembered(4)


def _measured(tokenizer: Any, rows: Sequence[Row], method: Method) -> list[_Measured]:
    key = method, tokenizer_digest(tokenizer), fingerprint(list(rows))
    return _KNOWN.of(key, lambda: [_measure(tokenizer, row, method) for row in rows])


def _measure(tokenizer: Any, row: Row, method: Method) -> _Measured:
    prompt = _ids(tokenizer, row["prompt"], add_generation_prompt=True)
    sides = {"reward": ("chosen", "rejected"), "dpo": ("chosen", "rejected"), "grpo": ()}
    wholes = [
        _ids(tokenizer, [*row["prompt"], *row[side]]) for side in sides.get(method, ("completion",))
    ]
    # The answer begins where prompt and conversation differ, as in TRL's `common_prefix_length`.
    shared = min((_shared(prompt, whole) for whole in wholes), default=len(prompt))
    return _Measured(shared, tuple(len(whole) for whole in wholes) or (len(prompt),))


def _ids(tokenizer: Any, messages: Sequence[Mapping[str, str]], **options: Any) -> list[int]:
    encoded = tokenizer.apply_chat_template(
        list(messages), tokenize=True, return_dict=True, **options
    )
    return list(encoded["input_ids"])


def _shared(first: list[int], second: list[int]) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(first), len(second)))


def _fate(row: _Measured, method: Method, limit: int, options: Mapping[str, Any]) -> str:
    longest = max(row.whole)
    if method == "reward":
        return "left out" if longest > limit else "whole"
    if method == "grpo":
        return "cut" if longest > limit else "whole"
    packed = method == "sft" and options["packing"]
    if packed and options["packing_strategy"] != "bfd":
        return "whole"  # the rest continues in another row
    keeps_end = method != "kto" and not packed and options["truncation_mode"] == "keep_end"
    everything = method == "sft" and options["completion_only_loss"] is False
    if row.prompt >= limit and not keeps_end and not everything:
        return "left out"
    return "cut" if longest > limit else "whole"


def _check(lengths: Lengths, method: Method, batch: int) -> None:
    remaining, limit = lengths.rows - lengths.left_out, lengths.max_length
    if method == "grpo" and lengths.too_long:
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
            f"{_WHY[method]}. The longest row has {lengths.longest} tokens: "
            f"raise max_length to {lengths.longest}, or shorten the rows"
        )


_WHY: dict[Method, str] = {
    "sft": "nothing of the answer is left of a row whose prompt alone is as long",
    "dpo": "a row is left out if its prompt alone is as long",
    "kto": "a row is left out if its prompt alone is as long",
    "reward": "a pair is left out if either side is longer",
}
