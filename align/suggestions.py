"""Suggestions for a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(
    name: str,
    known: Iterable[str],
    n: int = 1,
    *,
    cutoff: float = 0.6,
    ignore_case: bool = False,
    before: str = "",
    after: str = "",
    quoted: bool = True,
) -> str:
    """`did you mean 'x'?` with the closest known name; empty if no known name is close.

    With `n` above 1, up to `n` names without quotes, joined by "or". `quoted` False leaves the
    quotes out of one name, too. `before` and `after` surround the suggestion where there is one.
    `cutoff` is the least similarity, from 0 to 1 (`difflib.get_close_matches`). With `ignore_case`,
    upper and lower case compare as equal, and the suggestion is spelled as in `known`.
    """
    spellings = {text.lower() if ignore_case else text: text for text in known}
    sought = name.lower() if ignore_case else name
    close = difflib.get_close_matches(sought, list(spellings), n=n, cutoff=cutoff)
    if not close:
        return ""
    matches = [spellings[text] for text in close]
    text = f"'{matches[0]}'" if n == 1 and quoted else " or ".join(matches)
    return f"{before}did you mean {text}?{after}"
