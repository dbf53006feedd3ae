"""Tiny random bases of many families, and adapters on them with plain PEFT as the reference."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from align.adapters.tensors import LoraFactors, read_factors
from align.base import Base

END = 1
SHAPE = {
    "vocab_size": 258,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
    "pad_token_id": END,
    "eos_token_id": END,
    "bos_token_id": 0,
}


def random_base(family: str, tokenizer: Any = None, **shape: Any) -> Base:
    """A seeded fp32 model of this `model_type`; `shape` goes over SHAPE."""
    config = CONFIG_MAPPING[family](**{**SHAPE, **shape})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).float().eval().requires_grad_(False)
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:  # zeros and ones would hide their absence
                parameter.data += 0.2 * torch.randn_like(parameter)
    return Base(family, model, tokenizer, family)


def in_dtype(base: Base, dtype: torch.dtype) -> Base:
    """The same weights, rounded."""
    config = type(base.model.config).from_dict(base.model.config.to_dict())
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(base.model.state_dict())
    return Base(base.ref, model.to(dtype).eval().requires_grad_(False), base.tokenizer, base.digest)


@dataclass(frozen=True)
class Saved:
    """A random adapter: its folder and its factors."""

    folder: Path
    factors: LoraFactors

    def on(self, base: Base) -> Any:
        """The base with this adapter alone, by PEFT."""
        return PeftModel.from_pretrained(base.shell(), self.folder).eval()


def random_adapter(base: Base, folder: Path, seed: int, **lora: Any) -> Saved:
    """Saved by PEFT; `lora` is LoraConfig's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(task_type="CAUSAL_LM", **lora)
        model = get_peft_model(base.shell(), config)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.2)
        model.save_pretrained(folder)
    return Saved(folder, read_factors(folder))


def assorted(base: Base, folder: Path) -> dict[str, Saved]:
    """Adapters of different ranks and targets, one with a rank pattern, one with rsLoRA."""
    names = {name.rpartition(".")[2] for name, _ in base.model.named_modules()}
    attention = sorted(names & {"q_proj", "v_proj", "qkv_proj"})
    mlp = sorted(names & {"gate_proj", "up_proj", "down_proj", "gate_up_proj"})
    options: dict[str, dict[str, Any]] = {
        "attention": {"r": 4, "lora_alpha": 8, "target_modules": attention},
        "mlp": {"r": 7, "lora_alpha": 4, "target_modules": mlp, "use_rslora": True},
        "all": {
            "r": 3,
            "lora_alpha": 6,
            "target_modules": "all-linear",
            "rank_pattern": {"o_proj": 9, "down_proj": 1},
            "alpha_pattern": {"o_proj": 5},
        },
    }
    return {
        name: random_adapter(base, folder / name, seed, **lora)
        for seed, (name, lora) in enumerate(options.items())
    }


def greedy(model: Any, prompt: list[int], count: int) -> list[int]:
    """What transformers' own `generate` writes, without the end of turn."""
    ids = torch.tensor([prompt])
    with torch.no_grad():
        out: list[int] = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            do_sample=False,
        )[0, len(prompt) :].tolist()
    return out[: out.index(END)] if END in out else out


def random_tokens(seed: int, count: int) -> list[int]:
    """Ids of the vocabulary other than the end of turn."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, SHAPE["vocab_size"], (count,), generator=generator).tolist()
