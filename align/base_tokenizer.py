"""The tokenizer of a base without its weights, for checks before anything is started."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from align.sources import SMOLLM2, on_hub, packaged_smollm2, unpacked


@lru_cache(maxsize=2)
def read_tokenizer(ref: str, hub: bool = False) -> Any | None:
    """The tokenizer of the base named by `ref`, with its chat template; None if there is none here.

    Without `hub`, that of a hub id is read from the local cache alone. The tokenizer of the
    built-in SmolLM2 is read from its package until the base is used first. ModelError as of
    `load_base` for a tokenizer without a template or an end of turn.
    """
    from transformers import AutoTokenizer

    from align.base import complete_tokenizer, model_source, without_progress

    if ref == SMOLLM2 and not unpacked(ref).is_dir():
        file = packaged_smollm2()
        return AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    options = {"local_files_only": True} if on_hub(ref) and not hub else {}
    try:
        with without_progress():
            source = model_source(ref)
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    except (OSError, ValueError):
        return None  # a worker that loads the base gives the reason
    complete_tokenizer(tokenizer, ref)
    return tokenizer
