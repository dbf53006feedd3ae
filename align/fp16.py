"""fp16, in which older GPUs compute: which layers overflow it, and layers held in fp32.

fp16 ends at 65,504. Bases that were trained in bf16 can have larger activations, mostly within an
MLP or in the residual stream. A held layer computes in fp32 and its outputs stay in fp32, so that
the residual stream is in fp32 from there on; the other layers cast their inputs to fp16.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from align.errors import ModelError
from align.fp32_modules import held, may_be_held, remedy

_log = logging.getLogger(__name__)

#: Messages of a user that a base is probed with.
_PROMPTS = (
    "What is the capital of France?",
    "Tom has 3 boxes of 12 pencils and gives 7 away. How many are left? Think step by step.",
    "def area(width: float, height: float) -> float:\n    # complete this function, and explain it",
    "Übersetze ins Englische: Die Maschine läuft seit gestern ohne Fehler (100 %).",
)
LIMIT = 65_504


class OwnDtypeLinear(nn.Linear):
    """A frozen linear layer that computes in its weight's dtype, also under autocast.

    Input of any floating dtype (…, in) → (…, out) in the weight's dtype.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype):
        nn.Module.__init__(self)  # no new weight: it is shared, unless its dtype changes
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = _frozen(linear.weight, dtype)
        self.bias = None if linear.bias is None else _frozen(linear.bias, dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return nn.functional.linear(x.to(self.weight.dtype), self.weight, self.bias)


def _frozen(weight: torch.Tensor, dtype: torch.dtype) -> nn.Parameter:
    if isinstance(weight, nn.Parameter) and weight.dtype == dtype:
        return weight
    return nn.Parameter(weight.detach().to(dtype), requires_grad=False)


def settle(ref: str, model: Any, tokenizer: Any, fp32_modules: Sequence[str]) -> None:
    """Hold `fp32_modules` and whatever else overflows in fp32, in place; logs what overflowed.

    ModelError if the logits are not finite with all layers held that could be the reason.
    """
    if fp32_modules:
        hold(model, fp32_modules)
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        )
        for text in _PROMPTS
    ]
    patterns: list[str] = []
    first = overflow = first_overflow(model, prompts)
    while overflow is not None:
        pattern = remedy(overflow)
        if pattern is None or pattern in (*patterns, *fp32_modules):
            raise ModelError(_refusal(ref, str(first), overflow))
        patterns.append(pattern)
        hold(model, [pattern])
        overflow = first_overflow(model, prompts)
    if first is not None:
        _log.warning(
            "base '%s': outputs of '%s' are beyond fp16, which ends at %d; held in fp32: %s. "
            "In a recipe, fp32_modules: [%s] lets `recipe fit` count their memory",
            *(ref, first, LIMIT, ", ".join(patterns), ", ".join([*fp32_modules, *patterns])),
        )


def _refusal(ref: str, first: str, last: str) -> str:
    still = "" if first == last else f", and with layers in fp32 those of '{last}'"
    return (
        f"base '{ref}' overflows fp16, in which GPUs below compute capability 8.0 compute: the "
        f"outputs of '{first}' are the first that are not finite{still}; use a GPU that computes "
        "bf16 (L4, A10G, A100 or later), a CPU, or another base"
    )


def check_names(model: Any, patterns: Sequence[str]) -> None:
    """ModelError if a pattern names no linear layer of the decoder that may be held in fp32."""
    allowed = [name for name in _linears(model) if may_be_held(name)]
    for pattern in patterns:
        if not any(held([pattern], name) for name in allowed):
            leaves = sorted({name.rpartition(".")[2] for name in allowed})
            raise ModelError(
                f"fp32_modules: '{pattern}' names no linear layer that can be held in fp32; "
                f"allowed: {', '.join(leaves)}, or other parts of their names, such as "
                f"{allowed[-1].rpartition('.')[0] if allowed else 'layers.0.mlp'}"
            )


def hold(model: Any, patterns: Sequence[str]) -> None:
    """Let the linear layers that `patterns` name compute in fp32, in place.

    From then on all linear layers of the model compute in their own dtype, also under autocast.
    """
    for name, linear in _linears(model).items():
        dtype = torch.float32 if held(patterns, name) else linear.weight.dtype
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, OwnDtypeLinear(linear, dtype))


def _linears(model: Any) -> dict[str, nn.Linear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def first_overflow(model: Any, prompts: Sequence[Sequence[int]]) -> str | None:
    """The module whose outputs are the first that are not finite on a prompt; None if all are.

    Prompts are token ids. Modules are watched only if logits are not finite.
    """
    device = model.get_input_embeddings().weight.device
    for prompt in prompts:
        ids = torch.tensor([prompt], device=device)
        with torch.no_grad():
            if not bool(torch.isfinite(model(input_ids=ids, use_cache=False).logits).all()):
                return _watched(model, ids)
    return None


@torch.no_grad()
def _watched(model: Any, ids: torch.Tensor) -> str:
    finite: list[tuple[str, torch.Tensor]] = []

    def watch(name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
            finite.append((name, torch.isfinite(tensor).all()))

    hooks = [
        module.register_forward_hook(partial(watch, name)) for name, module in model.named_modules()
    ]
    try:
        model(input_ids=ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return next((name for name, fine in finite if not bool(fine)), "the language head")


def held_linears(model: Any) -> dict[str, nn.Linear]:
    """The frozen linear layers whose weights are in another dtype than the embeddings, by name."""
    dtype = model.get_input_embeddings().weight.dtype
    return {
        name: linear
        for name, linear in _linears(model).items()
        if not linear.weight.requires_grad and linear.weight.dtype != dtype
    }


def lora_in_fp32(model: Any) -> None:
    """Let the LoRA of layers that are held in fp32 compute in fp32, too, in place.

    Their inputs may be beyond fp16, to which autocast would cast them.
    """
    from peft.tuners.lora import LoraLayer

    wide = {id(linear) for linear in held_linears(model).values()}
    modules: list[nn.Module] = list(model.modules())
    for module in modules:
        if isinstance(module, LoraLayer) and id(module.get_base_layer()) in wide:
            module.forward = partial(_in_fp32, module.forward)


def _in_fp32(forward: Any, x: torch.Tensor, *rest: Any, **named: Any) -> Any:
    with torch.autocast(x.device.type, enabled=False):
        return forward(x.float(), *rest, **named)
