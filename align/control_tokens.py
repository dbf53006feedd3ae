"""The control tokens of a tokenizer, and their texts within other text. Imports no torch.

Control tokens are the added tokens that are special: `<|im_end|>`, `<s>`, `[INST]`. Other added
tokens, such as `<think>` or `<tool_call>` in most tokenizers, are ordinary text with an id of its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

#: Fields of a message that name something instead of saying it; templates rely on their values.
_NAMES = {"role", "type"}


def control_tokens(tokenizer: Any) -> dict[str, int]:
    """The ids of a tokenizer's control tokens by their texts."""
    return {
        token.content: index
        for index, token in tokenizer.added_tokens_decoder.items()
        if token.special and token.content.strip()
    }


def written_tokens(texts: Iterable[str], control: Iterable[str]) -> list[str]:
    """The texts in `control` that occur in any of `texts`, in the order of `control`."""
    present = list(texts)
    return [token for token in control if any(token in text for text in present)]


def texts_of(value: Any) -> Iterator[str]:
    """All strings in messages or in a template's variables, without roles, types and keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, child in value.items():
            if name not in _NAMES:
                yield from texts_of(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from texts_of(child)


def names_of(value: Any) -> Iterator[str]:
    """The strings that `texts_of` leaves out: keys, roles and types."""
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield name
            if name in _NAMES:
                yield from texts_of(child)
            yield from names_of(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from names_of(child)


def with_texts(value: Any, change: Callable[[str], str], rename: Callable[[str], str]) -> Any:
    """A copy in which the strings of `texts_of` are changed, and those of `names_of` renamed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {
            rename(name): with_texts(child, rename if name in _NAMES else change, rename)
            for name, child in value.items()
        }
    if isinstance(value, list | tuple):
        return [with_texts(child, change, rename) for child in value]
    return value
