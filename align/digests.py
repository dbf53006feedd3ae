"""Digests of what turns messages into tokens. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from align.lru_cache import Remembered

_DIGESTS: Remembered[str] = Remembered(8)


def template_digest(tokenizer: Any) -> str:
    """SHA-256 over the chat template: how messages become text."""
    return _digest(tokenizer.chat_template)


def tokenizer_digest(tokenizer: Any) -> str:
    """SHA-256 over all that decides which ids messages become, the chat template included.

    Loaded from another folder, or after it truncated and padded, a tokenizer keeps its digest.
    """
    about = {
        "kind": type(tokenizer).__name__,
        "special": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "template": tokenizer.chat_template,
    }
    if not tokenizer.is_fast:
        rules = {"vocabulary": tokenizer.get_vocab(), "options": tokenizer.init_kwargs}
        return _digest({**about, "rules": rules})
    text = tokenizer.backend_tokenizer.to_str()
    # Parsing a vocabulary takes longer than all else that a trial does with its tokenizer.
    same = _digest(about), hashlib.sha256(text.encode()).hexdigest()
    return _DIGESTS.of(same, lambda: _digest({**about, "rules": _rules(text)}))


def _rules(text: str) -> Any:
    """The fast tokenizer's own file, without what calls leave in it."""
    rules = json.loads(text)
    return {name: part for name, part in rules.items() if name not in ("truncation", "padding")}


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
