"""Token log-probabilities in the formats of OpenAI's API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serve.batching.jobs import TokenLogprob

#: JSON has no minus infinity; OpenAI's API uses this value for extremely unlikely tokens.
_LEAST = -9999.0


def chat_logprobs(tokens: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
    """`logprobs` of a chat's choice; None if not requested."""
    if tokens is None:
        return None
    content = [
        {
            **_entry(token.raw, token.logprob),
            "top_logprobs": [_entry(raw, logprob) for raw, logprob in token.top],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def text_logprobs(tokens: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
    """`logprobs` of a text completion's choice: a list for each property, each in token order.

    The likeliest tokens always include the sampled token, as in OpenAI's API. None if not
    requested.
    """
    if tokens is None:
        return None
    return {
        "tokens": [_escaped(token.raw) for token in tokens],
        "token_logprobs": [_finite(token.logprob) for token in tokens],
        "top_logprobs": [_likeliest(token) for token in tokens],
        "text_offset": [token.offset for token in tokens],
    }


def _likeliest(token: TokenLogprob) -> dict[str, float]:
    likeliest: dict[str, float] = {}
    for raw, logprob in token.top:  # of tokens with the same text, the likeliest counts
        likeliest.setdefault(_escaped(raw), _finite(logprob))
    return likeliest | {_escaped(token.raw): _finite(token.logprob)}


def _entry(raw: bytes, logprob: float) -> dict[str, Any]:
    """A token's entry; a part of a character is shown as U+FFFD, and is exact in `bytes`."""
    token = raw.decode(errors="replace")
    return {"token": token, "logprob": _finite(logprob), "bytes": list(raw)}


def _escaped(raw: bytes) -> str:
    """A token's text. Parts of characters are written as hex escapes, which tell them apart."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in raw)


def _finite(logprob: float) -> float:
    return max(_LEAST, logprob)
