"""Digests of a tokenizer and its chat template. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from align.lru_cache import Remembered

_DIGESTS: Remembered[str] = Remembered(8)


def template_digest(tokenizer: Any) -> str:
    """SHA-256 over the chat template, which renders messages as text."""
    return _digest(tokenizer.chat_template)


def tokenizer_digest(tokenizer: Any) -> str:
    """SHA-256 over everything that determines the ids of messages, the chat template included.

    It does not depend on the tokenizer's folder, or on earlier calls with truncation or padding.
    """
    properties = {
        "kind": type(tokenizer).__name__,
        "special": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "template": tokenizer.chat_template,
    }
    if not tokenizer.is_fast:
        rules = {"vocabulary": tokenizer.get_vocab(), "options": tokenizer.init_kwargs}
        return _digest({**properties, "rules": rules})
    text = tokenizer.backend_tokenizer.to_str()
    # Parsing a vocabulary takes longer than everything else a trial does with its tokenizer.
    key = _digest(properties), hashlib.sha256(text.encode()).hexdigest()
    return _DIGESTS.of(key, lambda: _digest({**properties, "rules": _rules(text)}))


def _rules(text: str) -> Any:
    """The fast tokenizer's JSON without the settings that calls leave in it."""
    rules = json.loads(text)
    return {name: part for name, part in rules.items() if name not in ("truncation", "padding")}


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
