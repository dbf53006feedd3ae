"""A random model of the tutorial's shape, and data of its formats and lengths."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from align.base import CHATML, model_source
from align.recipe import Recipe, builtin_recipes, parse_recipe
from align.sources import SMOLLM2, TINY

#: Qwen2.5-0.5B-Instruct, as its config.json has it.
QWEN = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}
#: The same layout with seconds in mind.
SMALL = {
    "hidden_size": 128,
    "intermediate_size": 640,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 2048,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}
ROWS = 48
_WORDS = ("time", "water", "number", "people", "way", "part", "sound", "place", "work", "year")


def make_base(folder: Path, quick: bool) -> str:
    """A seeded random Qwen2 in bf16 in a folder, with an embedded base's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(model_source(TINY if quick else SMOLLM2))
    tokenizer.chat_template = CHATML  # SmolLM2's own adds a system turn
    config = Qwen2Config(
        **(SMALL if quick else QWEN),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    before = torch.get_default_dtype()
    torch.manual_seed(0)
    try:
        torch.set_default_dtype(torch.bfloat16)
        model = Qwen2ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def make_recipe(base: str, folder: Path, steps: int, quick: bool) -> Recipe:
    """The shipped tutorial, and KTO on the same data, with the hub replaced by files in `folder`.

    Rows are as many tokens as the stages take, or a few less, so that micro-batches are full and
    padded.
    """
    raw: dict[str, Any] = yaml.safe_load(builtin_recipes()["tutorial"].read_text(encoding="utf-8"))
    stages, rng = raw["stages"], random.Random(0)
    stages["kto"] = {
        **stages["dpo"],
        "method": "kto",
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
    }
    tokenizer = AutoTokenizer.from_pretrained(base)
    for name, stage in stages.items():
        for field in ("num_train_epochs", "sweep", "constraints"):
            stage.pop(field, None)
        stage["max_steps"] = steps
        if quick and name != "grpo":
            stage["max_length"] = 96
        if quick and name == "grpo":
            stage["max_completion_length"] = 12
        if name != "grpo":
            size = _Size(tokenizer, stage["max_length"], rng)
            rows = list(_MAKE[stage["method"]](size))
            path = folder / f"{name}.jsonl"
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
            stage["data"] = {"path": str(path), "train": ROWS - 2, "validation": 1, "test": 1}
        else:
            stage["data"] = {"task": "expressions", "train": ROWS, "validation": 1, "test": 1}
    return parse_recipe({**raw, "name": "memory", "base": base}, "tutorial on stand-ins")


class _Size:
    """Texts that together fill a stage's sequences, give or take an eighth."""

    def __init__(self, tokenizer: Any, length: int, rng: random.Random):
        self._tokenizer, self._length, self._rng = tokenizer, length, rng

    def texts(self, shares: Sequence[float]) -> list[str]:
        """One text for each share of a sequence's tokens, the template's taken off."""
        room = self._length * self._rng.choice((1.0, 1.0, 0.875)) - 8 * len(shares)
        return [self._text(int(room * share)) for share in shares]

    def _text(self, tokens: int) -> str:
        words: list[str] = []
        while len(words) < max(1, tokens):
            words.append(self._rng.choice(_WORDS))
        ids = self._tokenizer.encode(" ".join(words), add_special_tokens=False)[: max(1, tokens)]
        return str(self._tokenizer.decode(ids))


def _turns(*texts: str) -> list[dict[str, str]]:
    return [
        {"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)
    ]


def _conversations(size: _Size) -> Iterable[dict[str, Any]]:
    """Capybara's form: several turns, the last one the assistant's."""
    for at in range(ROWS):
        first, *rest = size.texts((0.15, 0.3, 0.1, 0.45))
        yield {"messages": _turns(f"{at} {first}", *rest)}


def _pairs(size: _Size) -> Iterable[dict[str, Any]]:
    """Ultrafeedback's form: two whole conversations that begin alike."""
    for at in range(ROWS):
        prompt, chosen = size.texts((0.3, 0.7))
        rejected = size.texts((0.3, 0.6))[1]
        yield {
            "chosen": _turns(f"{at} {prompt}", chosen),
            "rejected": _turns(f"{at} {prompt}", rejected),
        }


def _thumbs(size: _Size) -> Iterable[dict[str, Any]]:
    for at in range(ROWS):
        prompt, answer = size.texts((0.3, 0.7))
        yield {
            "prompt": _turns(f"{at} {prompt}"),
            "completion": [{"role": "assistant", "content": answer}],
            "label": at % 2 == 0,
        }


_MAKE = {"sft": _conversations, "reward": _pairs, "dpo": _pairs, "kto": _thumbs}
