"""Digests of what turns messages into tokens. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def template_digest(tokenizer: Any) -> str:
    """SHA-256 over the chat template: how messages become text."""
    return _digest(tokenizer.chat_template)


def tokenizer_digest(tokenizer: Any) -> str:
    """SHA-256 over all that decides which ids messages become, the chat template included.

    Loaded from another folder, or after it truncated and padded, a tokenizer keeps its digest.
    """
    content = {
        "kind": type(tokenizer).__name__,
        "special": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "template": tokenizer.chat_template,
        "rules": _rules(tokenizer),
    }
    return _digest(content)


def _rules(tokenizer: Any) -> Any:
    """The fast tokenizer's own file, without what calls leave in it; else the vocabulary."""
    if not tokenizer.is_fast:
        return {"vocabulary": tokenizer.get_vocab(), "options": tokenizer.init_kwargs}
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: part for name, part in rules.items() if name not in ("truncation", "padding")}


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
