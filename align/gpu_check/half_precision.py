"""Check `fp16`: the base computes in half precision without overflow, and close to fp32.

fp16 ends at 65,504. Some bases have residuals beyond, which become infinite in it. The reference
are the base's own files in fp32 on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from align.base import Base, load_base, model_source
from align.fp16 import held_linears, settle
from align.gpu_check.check import Check, Outcome, Setting, failed, passed
from align.gpu_check.prompts import prompts
from align.precision import precision

#: The largest mean divergence from fp32 (nats a token), by dtype.
_DIVERGENCE = {"float16": 1e-3, "bfloat16": 2e-2}
_PROMPTS = 4


@dataclass(frozen=True)
class Measured:
    """The base in half precision against fp32.

    `largest` is the largest absolute activation between layers, and `layer` the layer after which
    it occurs. `overflow` is the first layer whose output is not finite, None if all are.
    `divergence` is KL(fp32 || half), its mean over all positions; `same` the share of positions
    with the same likeliest token.
    """

    largest: float
    layer: int
    overflow: int | None
    divergence: float
    same: float


def run(setting: Setting) -> Outcome:
    """See the module."""
    dtype = precision().dtype if setting.on_card else torch.float16
    name = str(dtype).removeprefix("torch.")
    base = load_base(setting.base)
    if setting.on_card:
        model: Any = base.model
    else:
        model = _from_files(setting.base, dtype)
        settle(setting.base, model, base.tokenizer, ())  # as where the base is loaded in fp16
    wide = sorted(held_linears(model))
    measured = measure(base, model, _from_files(setting.base, torch.float32))
    limit = torch.finfo(dtype).max
    figures = {"dtype": name, "limit": limit, "in_fp32": wide, **vars(measured)}
    if measured.overflow is not None:
        return failed(
            f"{name} overflows after layer {measured.overflow}, beyond {_shown(limit)}, on prompts "
            "that the base's loading did not read: name the layer in the recipe's fp32_modules, or "
            "take a card of capability 8.0 or more, which has bfloat16",
            **figures,
        )
    if not measured.divergence <= _DIVERGENCE[name]:
        return failed(
            f"{name} is {measured.divergence:.1e} nats a token away from fp32, over "
            f"{_DIVERGENCE[name]:.0e}: results on this card differ from those elsewhere; report "
            "it with the JSON",
            **figures,
        )
    held = f", with {len(wide)} linear layers in fp32" if wide else ""
    return passed(
        f"{name} is finite{held}: residuals up to {measured.largest:,.1f} of {_shown(limit)}; "
        f"{measured.divergence:.1e} nats from fp32, {measured.same:.1%} the same top token",
        **figures,
    )


def _shown(limit: float) -> str:
    return f"{limit:,.0f}" if limit < 1e6 else f"{limit:.0e}"


def _from_files(ref: str, dtype: torch.dtype) -> Any:
    """The base's model on the CPU, loaded in `dtype`."""
    return AutoModelForCausalLM.from_pretrained(
        model_source(ref), dtype=dtype, attn_implementation="sdpa"
    ).eval()


@torch.inference_mode()
def measure(base: Base, model: Any, reference: Any) -> Measured:
    """Compare two models of the base on a few prompts; the first may be on a card."""
    largest, layer, overflow = 0.0, 0, None
    divergences, same = [], []
    for ids in prompts(base, _PROMPTS):
        tokens = torch.tensor([ids])
        with _residuals(model) as peaks:
            logits = model(input_ids=tokens.to(model.device)).logits[0].float().cpu()
        for index, peak in enumerate(peaks):
            if overflow is None and not peak < float("inf"):
                overflow = index
            if peak > largest:
                largest, layer = peak, index
        exact = torch.log_softmax(reference(input_ids=tokens).logits[0], -1)
        ours = torch.log_softmax(logits, -1)
        divergences.append((exact.exp() * (exact - ours)).sum(-1))
        same.append((exact.argmax(-1) == ours.argmax(-1)).float())
    return Measured(
        largest=largest,
        layer=layer,
        overflow=overflow,
        divergence=max(0.0, float(torch.cat(divergences).mean())),
        same=float(torch.cat(same).mean()),
    )


@contextmanager
def _residuals(model: Any) -> Iterator[list[float]]:
    """The largest absolute output of each layer, in the order of the layers."""
    peaks: list[float] = []

    def note(_: Any, __: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        peaks.append(float(hidden.float().abs().max()))

    handles = [layer.register_forward_hook(note) for layer in model.base_model.layers]
    try:
        yield peaks
    finally:
        for handle in handles:
            handle.remove()


CHECK = Check("fp16", run, seconds=12, cpu_seconds=3)
