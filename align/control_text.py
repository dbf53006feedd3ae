"""Text of users that reads like control tokens: how it is recognised, hidden from a chat template,
and encoded as the ordinary text that it is. Imports no torch.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from align.control_tokens import names_of, texts_of, with_texts
from align.errors import RequestError

#: Private characters of Unicode, which templates and tokenizers pass through.
_PRIVATE = range(0xF0000, 0xFFFFE)
_PRIVATE_CHARACTER = re.compile("[\U000f0000-\U000ffffd]")
#: Texts before which a part is encoded if it would get another beginning alone.
_LEADS = ("\n", ".", "0")
#: Tries to break text in which the model of a tokenizer sees a control token.
_BREAKS = 4


class ControlText:
    """Encodes chats so that only the template's control tokens become control tokens.

    A chat is rendered with placeholders for the texts of control tokens that are in messages; the
    text is cut at the control tokens that are left, which the template has written; the parts get
    the original texts back, and are encoded without control tokens. The cuts are those of the
    tokenizer itself: the longest added token at the first place.
    """

    def __init__(self, tokenizer: Any):
        added = [
            token for token in tokenizer.added_tokens_decoder.values() if token.content.strip()
        ]
        self._tokenizer = tokenizer
        self._special = {token.content: token for token in added if token.special}
        self._ids = set(tokenizer.convert_tokens_to_ids(list(self._special)))
        self._ids.discard(tokenizer.unk_token_id)  # it also stands for unknown characters
        self._added = _any_of(token.content for token in added)
        self._exact = _any_of(self._special)
        self._typed = _any_of(self._special, re.IGNORECASE)
        self._folded = _any_of(map(_folded, self._special))
        self._longest = max(map(len, self._special), default=0)
        self._beginnings = {text[:n] for text in self._special for n in range(1, len(text))}
        self._ends = {text[n:] for text in self._special for n in range(1, len(text))}
        self._alone = all(
            tokenizer(f"{text}a", add_special_tokens=False)["input_ids"][1:] == self._plain("a")
            for text in list(self._special)[:1]
        )

    def hide(self, value: Any) -> tuple[Any, dict[int, str]] | None:
        """Messages and variables with placeholders, and the original texts by code point.

        None if no text in `value` could become a control token, neither as it is nor in another
        case, in NFKC, or joined with the text of another message.
        """
        texts = list(texts_of(value))
        joined = self._could_join(texts)
        texts += names_of(value)
        if not joined and not any(map(self._occurs, texts)):
            return None
        used = {found for text in texts for found in _PRIVATE_CHARACTER.findall(text)}
        unused = (chr(code) for code in _PRIVATE if chr(code) not in used)
        placeholders: dict[str, str] = {}

        def placeholder(text: str) -> str:
            if text not in placeholders:
                placeholders[text] = next(unused, "")
                if not placeholders[text]:
                    raise RequestError("the messages have too many different control tokens")
            return placeholders[text]

        def named(text: str) -> str:
            return self._typed.sub(lambda match: placeholder(match[0]), text)

        def hidden(text: str) -> str:
            text = named(text)
            for start, end in self._edges(text) if joined else ():
                text = text[:start] + placeholder(text[start:end]) + text[end:]
            return text

        changed = with_texts(value, hidden, named)
        return changed, {ord(character): text for text, character in placeholders.items()}

    def encode(self, rendered: str, originals: dict[int, str]) -> list[int]:
        """The ids of a chat that was rendered with placeholders for `originals`."""
        ids: list[int] = []
        position, previous = 0, None
        for match in [*self._genuine(rendered), None]:
            token = None if match is None else self._special[match[0]]
            part = rendered[position : None if match is None else match.start()]
            if previous is not None and previous.rstrip:
                part = part.lstrip()
            if token is not None and token.lstrip:
                part = part.rstrip()
            ids += self._as_text(part.translate(originals), inner=position > 0)
            if match is not None and token is not None:
                ids.append(self._tokenizer.convert_tokens_to_ids(token.content))
                position, previous = match.end(), token
        return ids

    def _occurs(self, text: str) -> bool:
        return self._folded.search(_folded(text)) is not None

    def _could_join(self, texts: list[str]) -> bool:
        """Whether a text ends as a control token begins, and a text begins as one ends."""
        starts, ends = (any(map(edge, texts)) for edge in (self._start_edge, self._end_edge))
        return starts and ends

    def _start_edge(self, text: str) -> int:
        """Characters at the start of `text`, without whitespace, that are a control token's end."""
        start = text.lstrip()[: self._longest]
        return next((n for n in range(len(start), 0, -1) if start[:n] in self._ends), 0)

    def _end_edge(self, text: str) -> int:
        """Characters at the end of `text`, without whitespace, that begin a control token."""
        end = text.rstrip()[-self._longest :] if self._longest else ""
        return next((n for n in range(len(end), 0, -1) if end[-n:] in self._beginnings), 0)

    def _edges(self, text: str) -> Iterator[tuple[int, int]]:
        """The places of both edges in a text, the last first."""
        if length := self._end_edge(text):
            end = len(text.rstrip())
            yield end - length, end
        rest = text if not length else text[: end - length]
        if length := self._start_edge(rest):
            start = len(rest) - len(rest.lstrip())
            yield start, start + length

    def _genuine(self, rendered: str) -> Iterator[re.Match[str]]:
        """The control tokens in a text whose other parts have placeholders."""
        for match in self._added.finditer(rendered):
            token = self._special.get(match[0])
            if token is None:
                continue
            around = rendered[match.start() - 1 : match.start()], rendered[match.end() :][:1]
            if not (token.single_word and any(map(_is_word, around))):
                yield match

    def _as_text(self, text: str, inner: bool) -> list[int]:
        """The ids of `text` without control tokens; `inner` if it follows other text."""
        parts = [text]
        for _ in range(_BREAKS):
            encoded = [
                self._encoded(part, inner or at > 0, at > 0) for at, part in enumerate(parts)
            ]
            bad = {at for at, ids in enumerate(encoded) if not self._ids.isdisjoint(ids)}
            if not bad:
                return [token for ids in encoded for token in ids]
            # The model's own vocabulary has the token, as Unigram models have `</s>`.
            parts = [
                piece
                for at, part in enumerate(parts)
                for piece in (self._broken(part) if at in bad else [part])
            ]
        raise RequestError(
            "the messages have the text of a control token, which this base's tokenizer cannot "
            "encode as text: change or leave out what stands between < and > or [ and ]"
        )

    def _encoded(self, text: str, inner: bool, broken: bool) -> list[int]:
        """The ids of a text, which begins at a control token (`inner`) or in a word (`broken`)."""
        if not text or not inner or (self._alone and not broken):
            return self._plain(text)
        # SentencePiece puts a space before the first text of all, but not before later parts.
        for lead in _LEADS:
            before, ids = self._plain(lead), self._plain(lead + text)
            if ids[: len(before)] == before:
                return ids[len(before) :]
        return self._plain(text)

    def _broken(self, text: str) -> list[str]:
        """The text in pieces, each control token that the model sees in two."""
        if self._tokenizer.is_fast:
            encoded = self._tokenizer(
                text,
                add_special_tokens=False,
                split_special_tokens=True,
                return_offsets_mapping=True,
            )
            pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
            cuts = [
                start + max(1, (end - start) // 2) for i, (start, end) in pairs if i in self._ids
            ]
        else:
            cuts = [match.start() + 1 for match in self._exact.finditer(text)]
        bounds = [0, *cuts, len(text)]
        return [text[a:b] for a, b in pairwise(bounds) if a < b]

    def _plain(self, text: str) -> list[int]:
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return list(encoded["input_ids"])


def _any_of(texts: Iterable[str], flags: int = 0) -> re.Pattern[str]:
    """A pattern of the longest of `texts` at a place.

    Texts with the same beginning share it, so that a place costs no more among a thousand texts
    (Mistral's tokenizers have as many control tokens) than among ten. No empty text matches.
    """
    branches: dict[str, Any] = {}
    for text in filter(None, texts):
        branch = branches
        for character in text:
            branch = branch.setdefault(character, {})
        branch[""] = {}
    return re.compile(_pattern(branches) if branches else "(?!)", flags)


def _pattern(branches: dict[str, Any]) -> str:
    """The expression for texts by their first character; an empty text ends here."""
    shared = ""
    while len(branches) == 1 and "" not in branches:
        ((first, branches),) = branches.items()
        shared += re.escape(first)
    rests = [re.escape(first) + _pattern(rest) for first, rest in branches.items() if first]
    if not rests:
        return shared
    return f"{shared}(?:{'|'.join(rests)}){'?' if '' in branches else ''}"


def _folded(text: str) -> str:
    """The text without the differences that templates and normalizers remove.

    Those are of case, of compatibility (NFKC), and of accents. Each character is folded by itself:
    `unicodedata.normalize` takes quadratic time for many combining marks in a row.
    """
    if text.isascii():
        return text.lower()
    characters = {character for character in set(text) if not character.isascii()}
    folds = {ord(character): _folded_character(character) for character in characters}
    return text.translate(folds).lower()


def _folded_character(character: str) -> str:
    parts = unicodedata.normalize("NFKD", character).lower()
    return "".join(part for part in parts if not unicodedata.combining(part))


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
