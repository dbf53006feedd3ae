"""Whether an adapter's own tokenizer reads as its base's does, with which it will be served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from align.adapters.foreign.keys import some
from align.base import Base
from align.errors import AdapterError

_FILES = ("tokenizer_config.json", "tokenizer.json")
_TEMPLATE = "chat_template.jinja"
_TEMPLATE_BYTES = 2**20
_TOKENIZER_BYTES = 2**27  # the largest vocabularies take a quarter of it


def compare_tokenizers(folder: Path, base: Base) -> list[str]:
    """What is to be said of the tokenizer in an adapter's folder; empty without one.

    AdapterError if its tokens have other ids, or if it adds tokens that the base has no
    embedding for.
    """
    template = _template_file(folder)
    if not any((folder / name).is_file() for name in _FILES):
        return _compare_templates(template, base)
    if large := [file.name for file in folder.iterdir() if _is_too_large(file)]:
        return [f"its {some(large)} is too large for a tokenizer's; it is served with the base's"]
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # several libraries' errors, none of them about the adapter
        cause = " ".join(str(error).split())[:120]
        return [f"its tokenizer cannot be read ({cause}); it is served with the base's"]
    notes = _compare_vocabularies(folder, tokenizer, base)
    notes += _compare_templates(template or tokenizer.chat_template, base)
    if tokenizer.eos_token != base.tokenizer.eos_token:
        notes.append(
            f"its tokenizer ends answers with {tokenizer.eos_token!r}, the base's with "
            f"{base.tokenizer.eos_token!r}; give `stop` with requests if answers run on"
        )
    return notes


def _compare_vocabularies(folder: Path, tokenizer: Any, base: Base) -> list[str]:
    ours, theirs = base.tokenizer.get_vocab(), tokenizer.get_vocab()
    moved = [token for token, index in theirs.items() if ours.get(token, index) != index]
    if moved or len(ours.keys() - theirs.keys()) > len(ours) // 100:
        examples = some(map(repr, moved)) if moved else some(map(repr, ours.keys() - theirs.keys()))
        raise AdapterError(
            f"{folder}: its tokenizer is not that of base '{base.ref}': other ids for {examples}; "
            "name the base that it was trained on: --base NAME"
        )
    added = {token: index for token, index in theirs.items() if token not in ours}
    rows = base.model.get_input_embeddings().weight.shape[0]
    homeless = [t for t, index in added.items() if index >= rows and t != tokenizer.pad_token]
    if homeless:
        raise AdapterError(
            f"{folder}: its tokenizer adds {some(map(repr, homeless))}, for which base "
            f"'{base.ref}' has no embedding; merge the adapter into its base and serve that as a "
            "base of its own"
        )
    spoken = [token for token in added if token != tokenizer.pad_token]
    if not spoken:
        return []
    return [f"its tokenizer adds {some(map(repr, spoken))}; the base's reads them as other tokens"]


def _compare_templates(template: object, base: Base) -> list[str]:
    if not isinstance(template, str) or template.strip() == base.tokenizer.chat_template.strip():
        return []
    return [
        "its chat template differs from the base's, with which messages are rendered; where it was "
        "trained with its own, render prompts with that and use /v1/completions"
    ]


def _is_too_large(file: Path) -> bool:
    """Whether a file is too large to be read as a tokenizer's; weights are not looked at."""
    return file.suffix != ".safetensors" and file.stat().st_size > _TOKENIZER_BYTES


def _template_file(folder: Path) -> str | None:
    file = folder / _TEMPLATE
    if not file.is_file() or file.stat().st_size > _TEMPLATE_BYTES:
        return None
    return file.read_text(encoding="utf-8", errors="replace")
