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
        "tokens": [_spelled(token.raw) for token in tokens],
        "token_logprobs": [_finite(token.logprob) for token in tokens],
        "top_logprobs": [
            {_spelled(raw): _finite(logprob) for raw, logprob in _with_taken(token)}
            for token in tokens
        ],
        "text_offset": [token.offset for token in tokens],
    }


def _with_taken(token: TokenLogprob) -> list[tuple[bytes, float]]:
    return [*token.top, (token.raw, token.logprob)]


def _entry(raw: bytes, logprob: float) -> dict[str, Any]:
    return {"token": _spelled(raw), "logprob": _finite(logprob), "bytes": list(raw)}


def _spelled(raw: bytes) -> str:
    """A token's text. Parts of characters are written as hex escapes, as in OpenAI's API."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in raw)


def _finite(logprob: float) -> float:
    return max(_LEAST, logprob)
