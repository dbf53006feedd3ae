"""Rows whose messages contain the text of a control token, which trainers read as the token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from align.control_tokens import control_tokens, texts_of, written_tokens
from align.data.user_rows import Row

#: The columns of TRL's formats that are rendered with the chat template.
_RENDERED = ("prompt", "completion", "chosen", "rejected", "messages")


def rows_with_control_tokens(tokenizer: Any, rows: Sequence[Row]) -> dict[str, list[int]]:
    """The indices, ascending, of the rows whose messages contain a control token's text, by text.

    A trainer tokenises such a row with the control token: `<|im_end|>` in an answer ends the turn
    there. Columns that are not rendered, such as `answer`, are not searched; messages may also be
    plain strings.
    """
    control = control_tokens(tokenizer)
    indices: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        texts = texts_of([row[column] for column in _RENDERED if column in row])
        for token in written_tokens(texts, control):
            indices.setdefault(token, []).append(index)
    return indices
