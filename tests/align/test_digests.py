"""Digests of a tokenizer are of what it makes of messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from align.digests import template_digest, tokenizer_digest


def test_digests_are_of_content(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path / "copy")
    copy = AutoTokenizer.from_pretrained(tmp_path / "copy")
    digest = tokenizer_digest(tokenizer)
    assert tokenizer_digest(copy) == digest
    tokenizer(["a", "bbbb"], padding=True, truncation=True, max_length=2)
    assert tokenizer_digest(tokenizer) == digest
    copy.chat_template += " "
    assert template_digest(copy) != template_digest(tokenizer)
    assert tokenizer_digest(copy) != digest
    tokenizer.add_tokens(["<new>"])
    assert tokenizer_digest(tokenizer) != digest
