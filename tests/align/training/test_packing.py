"""Packed rows do not see each other where there is no FlashAttention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

from align.base import Base, model_source
from align.compat.trl_logits import compact_logits


def rows() -> list[dict[str, Any]]:
    return [
        {
            "prompt": [{"role": "user", "content": "q" * n}],
            "completion": [{"role": "assistant", "content": f"a{n}" * (n % 7 + 1)}],
        }
        for n in range(1, 14)
    ]


def loss(base: Base, out: Path, attention: str, batch: int, **options: Any) -> tuple[float, int]:
    """Summed over answer tokens, and their number, in training mode over a random adapter."""
    model = AutoModelForCausalLM.from_pretrained(
        model_source("tiny-random"), dtype=torch.float32, attn_implementation=attention
    )
    args = SFTConfig(
        output_dir=str(out), max_length=128, per_device_train_batch_size=batch, report_to="none",
        completion_only_loss=True, bf16=False, use_cpu=True, disable_tqdm=True,
        gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False},
        **options,
    )  # fmt: skip
    torch.manual_seed(0)
    trainer = SFTTrainer(
        model=model, args=args, train_dataset=Dataset.from_list(rows()),
        processing_class=base.tokenizer,
        peft_config=LoraConfig(init_lora_weights=False, target_modules="all-linear"),
    )  # fmt: skip
    trainer.model.train()
    total, tokens = 0.0, 0
    for inputs in trainer.get_train_dataloader():
        count = int((inputs["labels"][:, 1:] != -100).sum())
        total += trainer.compute_loss(trainer.model, dict(inputs)).item() * count
        tokens += count
    return total, tokens


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("compact", [True, False], ids=["compact", "full"])
def test_packed_losses_are_those_of_the_rows_apart(
    tiny: Base, tmp_path: Path, attention: str, compact: bool
) -> None:
    from contextlib import nullcontext

    with compact_logits() if compact else nullcontext():
        apart, tokens = loss(tiny, tmp_path, attention, 1)
        for strategy in ("bfd", "bfd_split"):
            packed = loss(tiny, tmp_path, attention, 3, packing=True, packing_strategy=strategy)
            assert packed == (pytest.approx(apart, rel=1e-5), tokens)


def test_wrapped_packing_mixes_rows_and_is_why_recipes_may_not_name_it(
    tiny: Base, tmp_path: Path
) -> None:
    apart, tokens = loss(tiny, tmp_path, "sdpa", 1)
    mixed, others = loss(tiny, tmp_path, "sdpa", 3, packing=True, packing_strategy="wrapped")
    assert abs(mixed / others - apart / tokens) > 1e-2


def test_bases_load_with_an_attention_that_masks_packed_rows(tiny: Base) -> None:
    assert tiny.model.config._attn_implementation in ("sdpa", "eager")
