"""Rows as tokens: how long they are, and how far their sides are equal."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align.chat_tools import chat_ids
from align.data.numbered_rows import number_of
from align.data.splits import fingerprint
from align.data.user_rows import Row, numbers
from align.digests import tokenizer_digest
from align.errors import DataError
from align.lru_cache import Remembered
from align.methods import METHODS, MethodName

#: The array type of token ids, and its bytes.
_ID_TYPE = "q"
ID_BYTES = array(_ID_TYPE).itemsize
#: The most reasons of a chat template that an error lists, and their length in characters.
_REASONS, _REASON_LENGTH = 3, 200


@dataclass(frozen=True)
class RowTokens:
    """Token counts of a row's prompt, and of each whole conversation that is trained on.

    Of a pair, `head` and `tail` tokens are equal on both sides, from the beginning and from the
    end. Of a row with a label, `ids` holds the whole conversation's token ids (ID_BYTES each).
    """

    prompt: int
    whole: tuple[int, ...]
    head: int = 0
    tail: int = 0
    ids: bytes = b""

    def tied(self, limit: int | None, keeps_end: bool) -> bool:
        """Whether both sides of a pair are equal in their first or last `limit` tokens."""
        if len(self.whole) != 2:
            return False
        whole = self.head == self.whole[0] == self.whole[1]
        return whole or (limit is not None and (self.tail if keeps_end else self.head) >= limit)


#: The last few measured sets of rows: all trials of a stage share them at any `max_length`.
_KNOWN: Remembered[list[RowTokens]] = Remembered(4)


def row_tokens(tokenizer: Any, rows: Sequence[Row], method: MethodName) -> list[RowTokens]:
    """The token counts of rows in conversational form, rendered by the base's chat template.

    DataError names the rows that the template cannot render, or of which it leaves no answer.
    """
    key = method, tokenizer_digest(tokenizer), fingerprint(list(rows))
    return _KNOWN.of(key, lambda: _all_measured(tokenizer, rows, method))


def _all_measured(tokenizer: Any, rows: Sequence[Row], method: MethodName) -> list[RowTokens]:
    measured: list[RowTokens] = []
    refused: dict[str, list[Row]] = {}
    for row in rows:
        try:
            counts = _measure(tokenizer, row, method)
        except Exception as error:  # a template may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            refused.setdefault(reason[:_REASON_LENGTH], []).append(row)
            continue
        if METHODS[method].sides and min(counts.whole) <= counts.prompt:
            refused.setdefault("nothing of the answer is rendered", []).append(row)
        measured.append(counts)
    if refused:
        raise DataError(_cannot_render(refused, len(rows)))
    return measured


def _cannot_render(refused: Mapping[str, Sequence[Row]], count: int) -> str:
    reasons = [f"{_named(rows)}: {reason}" for reason, rows in list(refused.items())[:_REASONS]]
    return (
        f"the base's chat template cannot render {sum(map(len, refused.values()))} of {count} "
        f"rows: {'; '.join(reasons)}: write these rows with the roles that the template knows, in "
        "the order that it wants (often user and assistant in turn), or take another base"
    )


def _named(rows: Sequence[Row]) -> str:
    """The rows' numbers, or the first prompt of rows without numbers."""
    if known := [number for row in rows if (number := number_of(row)) is not None]:
        return numbers(dict.fromkeys(known))
    return f"the prompt {str(rows[0]['prompt'][-1].get('content'))[:60]!r}"


def _measure(tokenizer: Any, row: Row, method: MethodName) -> RowTokens:
    prompt = chat_ids(tokenizer, row["prompt"], add_generation_prompt=True)
    wholes = [chat_ids(tokenizer, [*row["prompt"], *row[side]]) for side in METHODS[method].sides]
    # The answer begins where prompt and conversation differ, as in TRL's `common_prefix_length`.
    shared = min((_shared(prompt, whole) for whole in wholes), default=len(prompt))
    lengths = tuple(len(whole) for whole in wholes) or (len(prompt),)
    if len(wholes) == 2:
        head, tail = _shared(*wholes), _shared(wholes[0][::-1], wholes[1][::-1])
        return RowTokens(shared, lengths, head, tail)
    labelled = METHODS[method].preferential and "label" in row
    return RowTokens(shared, lengths, ids=array(_ID_TYPE, wholes[0]).tobytes() if labelled else b"")


def _shared(first: list[int], second: list[int]) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(first), len(second)))
