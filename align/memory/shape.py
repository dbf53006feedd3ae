"""The sizes of a decoder, read from its `config.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align.errors import ModelError
from align.fp32_modules import held
from align.sources import SMOLLM2, TINY, check_base, local_folder

_OPTIONAL = ("num_key_value_heads", "head_dim", "max_position_embeddings")
_NEEDED = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
)
#: Linears with the same input, which the engine fuses into a single product.
FUSED = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))


@dataclass(frozen=True)
class ModelShape:
    """The sizes that determine a decoder's memory. Llama's layout (also Mistral, Qwen2, Qwen3)."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    tied: bool
    attention_bias: bool

    @property
    def query_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Width of all key (or value) heads together."""
        return self.kv_heads * self.head_dim

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(in, out) of each linear of a layer, by name."""
        hidden, wide = self.hidden, self.intermediate
        return {
            "q_proj": (hidden, self.query_width),
            "k_proj": (hidden, self.key_width),
            "v_proj": (hidden, self.key_width),
            "o_proj": (self.query_width, hidden),
            "gate_proj": (hidden, wide),
            "up_proj": (hidden, wide),
            "down_proj": (wide, hidden),
        }

    @property
    def parameters(self) -> int:
        """Number of weights of the whole model."""
        layer = sum(inputs * outputs for inputs, outputs in self.linears.values()) + 2 * self.hidden
        if self.attention_bias:
            layer += self.query_width + 2 * self.key_width
        embeddings = self.vocab * self.hidden * (1 if self.tied else 2)
        return self.layers * layer + embeddings + self.hidden

    def targets(self, modules: str | list[str]) -> frozenset[str]:
        """The linears of a layer that PEFT's `target_modules` names.

        As in PEFT: `all-linear`, a list of name endings, or a pattern for whole names.
        """
        if modules == "all-linear":
            return frozenset(self.linears)
        if isinstance(modules, str):
            return frozenset(name for name in self.linears if re.fullmatch(modules, _full(name)))
        return frozenset(
            name
            for name in self.linears
            if any(
                _full(name) == ending or _full(name).endswith(f".{ending}") for ending in modules
            )
        )

    def held_parameters(self, patterns: Collection[str]) -> int:
        """Number of weights of the linears that `patterns` name (align.fp32_modules)."""
        return sum(
            inputs * outputs
            for layer in range(self.layers)
            for name, (inputs, outputs) in self.linears.items()
            if held(patterns, _full(name, layer))
        )

    def check_held(self, patterns: Collection[str]) -> None:
        """ModelError if a pattern names no linear layer that may be held in fp32."""
        for pattern in patterns:
            if not self.held_parameters([pattern]):
                raise ModelError(
                    f"fp32_modules: '{pattern}' names no linear layer that can be held in fp32; "
                    "allowed: down_proj, gate_proj, o_proj, up_proj, or other parts of their "
                    f"names, such as mlp or layers.{self.layers - 1}.mlp"
                )

    def lora_parameters(self, rank: int, targets: frozenset[str]) -> int:
        """Number of weights of an adapter: A (rank, in) and B (out, rank) per target and layer."""
        return self.layers * rank * sum(sum(self.linears[name]) for name in targets)


#: Configurations of the built-in bases, whose files may not be unpacked yet.
_EMBEDDED: dict[str, dict[str, Any]] = {
    SMOLLM2: {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
    TINY: {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 258,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    },
}


def read_shape(base: str, config: Path | None = None) -> ModelShape:
    """The sizes of a base (built-in, a folder, or a hub id), or the sizes in a file `config`.

    ModelError if there is no such file, or its memory cannot be predicted.
    """
    if config is not None:
        return _read(config)
    if base in _EMBEDDED:
        return shape_of(_EMBEDDED[base], base)
    folder = local_folder(base)
    return _read(_downloaded(base) if folder is None else folder / "config.json")


def _downloaded(base: str) -> Path:
    try:
        check_base(base)
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(base, "config.json"))
    except Exception as error:  # errors of several libraries with the same meaning for users
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error) else repr(error)
        raise ModelError(
            f"{reason}; or give its sizes in a file: --config config.json, as the model has it"
        ) from None


def _read(path: Path) -> ModelShape:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: a model's config.json cannot be read from it: {error}") from None
    if not isinstance(raw, dict):
        raise ModelError(f"{path}: a model's config.json is one JSON object")
    return shape_of(raw, str(path))


def shape_of(config: Mapping[str, Any], source: str) -> ModelShape:
    """The sizes in a model's configuration. ModelError names the fields that `source` lacks."""
    missing = [name for name in _NEEDED if not _is_size(config.get(name))]
    missing += [
        name for name in _OPTIONAL if config.get(name) is not None and not _is_size(config[name])
    ]
    if missing:
        raise ModelError(
            f"{source}: no positive whole number for {', '.join(missing)} in it; memory is "
            "predicted for decoders of Llama's layout (Llama, Mistral, Qwen2, Qwen3, SmolLM2)"
        )
    if config["num_attention_heads"] % (config.get("num_key_value_heads") or 1):
        raise ModelError(
            f"{source}: {config['num_attention_heads']} num_attention_heads cannot share "
            f"{config['num_key_value_heads']} num_key_value_heads evenly"
        )
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    family = str(config.get("model_type", ""))
    return ModelShape(
        hidden=hidden,
        intermediate=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or hidden // heads,
        vocab=config["vocab_size"],
        context=config.get("max_position_embeddings") or 2048,
        tied=bool(config.get("tie_word_embeddings", False)),
        attention_bias=bool(config.get("attention_bias", family == "qwen2")),
    )


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0


def _full(name: str, layer: int = 0) -> str:
    block = "self_attn" if name in {*FUSED[0], *FUSED[1]} else "mlp"
    return f"model.layers.{layer}.{block}.{name}"
