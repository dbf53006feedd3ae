"""PEFT's kinds of adapters that are a low-rank sum, as LoRA factors A (r, in) and B (out, r).

Each conversion is an identity of matrices, so a converted adapter computes what PEFT's own layer
computes, up to rounding in fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from align.adapters.tensors import scaling

Shapes = Mapping[str, tuple[int, ...]]
Parts = Mapping[str, torch.Tensor]
Factors = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Sizes:
    """A module's update: (out, in), the rank that its LoRA has, and PEFT's r where it shows."""

    out: int
    width: int
    lora_rank: int
    peft_rank: int | None


@dataclass(frozen=True)
class Conversion:
    """How a kind becomes LoRA.

    `sizes` reads them from the shapes of a module's parts, and raises KeyError or ValueError if a
    part is missing or does not fit. `factors` takes the parts in fp32, the module's name and the
    config. `parts` are those that a module may have, `shared` those that all have in common.
    """

    description: str
    parts: frozenset[str]
    sizes: Callable[[Shapes], Sizes]
    factors: Callable[[Parts, str, Mapping[str, Any]], Factors]
    shared: tuple[str, ...] = ()


def _lora_sizes(shapes: Shapes) -> Sizes:
    (rank, width), (out, inner) = shapes["lora_A"], shapes["lora_B"]
    _equal(rank, inner)
    return Sizes(out, width, rank, rank)


def _lora(parts: Parts, module: str, config: Mapping[str, Any]) -> Factors:
    return parts["lora_A"], parts["lora_B"] * scaling(config, module)


def _adalora_sizes(shapes: Shapes) -> Sizes:
    sizes = _lora_sizes(shapes)
    _equal(shapes["lora_E"], (sizes.lora_rank, 1))
    return sizes


def _adalora(parts: Parts, module: str, config: Mapping[str, Any]) -> Factors:
    """B diag(E) A · alpha / (init_r + 1e-5), as `peft.tuners.adalora.layer` computes it.

    Singular values that training has set to zero take no rank.
    """
    singular = parts["lora_E"].flatten()
    used = singular != 0
    alpha = float(config["lora_alpha"])
    scale = (alpha if alpha > 0 else float(len(singular))) / (float(config["init_r"]) + 1e-5)
    return parts["lora_A"][used] * singular[used, None], parts["lora_B"][:, used] * scale


def _loha_sizes(shapes: Shapes) -> Sizes:
    (out, first), (inner, width) = shapes["hada_w1_a"], shapes["hada_w1_b"]
    _equal(first, inner)
    (other_out, second), (inner, other_width) = shapes["hada_w2_a"], shapes["hada_w2_b"]
    _equal(second, inner)
    _equal((out, width), (other_out, other_width))
    return Sizes(out, width, first * second, first)


def _loha(parts: Parts, module: str, config: Mapping[str, Any]) -> Factors:
    """(P1 Q1) ∘ (P2 Q2) = (P1 • P2) (Q1 • Q2): products of all pairs of columns, and of rows.

    The face-splitting identity of Hadamard products of low-rank matrices (FedPara,
    arXiv 2108.06098, proposition 1).
    """
    first, second = parts["hada_w1_a"], parts["hada_w2_a"]
    b = torch.einsum("oi,oj->oij", first, second).flatten(1)
    a = torch.einsum("iw,jw->ijw", parts["hada_w1_b"], parts["hada_w2_b"]).flatten(0, 1)
    return a, b * _alpha_over_rank(config, module)


def _lokr_sizes(shapes: Shapes) -> Sizes:
    (out, width), first = _kron_part(shapes, "lokr_w1")
    (inner_out, inner_width), second = _kron_part(shapes, "lokr_w2")
    ranks = [shapes[part][1] for part in ("lokr_w1_a", "lokr_w2_a") if part in shapes]
    return Sizes(out * inner_out, width * inner_width, first * second, ranks[0] if ranks else None)


def _kron_part(shapes: Shapes, part: str) -> tuple[tuple[int, int], int]:
    """The shape of one side of the product and its rank: a matrix, or a product of two."""
    if part in shapes:
        out, width = shapes[part]
        return (out, width), min(out, width)
    (out, rank), (inner, width) = shapes[f"{part}_a"], shapes[f"{part}_b"]
    _equal(rank, inner)
    return (out, width), rank


def _lokr(parts: Parts, module: str, config: Mapping[str, Any]) -> Factors:
    """(P1 Q1) ⊗ (P2 Q2) = (P1 ⊗ P2) (Q1 ⊗ Q2), the mixed-product property."""
    (b1, a1), (b2, a2) = _split(parts, "lokr_w1"), _split(parts, "lokr_w2")
    return torch.kron(a1, a2), torch.kron(b1, b2) * _alpha_over_rank(config, module)


def _split(parts: Parts, part: str) -> Factors:
    """B and A with B A equal to this side of the product."""
    if part not in parts:
        return parts[f"{part}_a"], parts[f"{part}_b"]
    matrix = parts[part]
    out, width = matrix.shape
    return (torch.eye(out), matrix) if out <= width else (matrix, torch.eye(width))


def _vera_sizes(shapes: Shapes) -> Sizes:
    (out,), (rank,) = shapes["vera_lambda_b"], shapes["vera_lambda_d"]
    (rows, width), (height, columns) = shapes["vera_A"], shapes["vera_B"]
    _equal((rows, columns), (rank, rank))
    if height < out:
        raise ValueError(f"vera_B has {height} rows, {out} are needed")
    return Sizes(out, width, rank, rank)


def _vera(parts: Parts, module: str, config: Mapping[str, Any]) -> Factors:
    """diag(b) B diag(d) A with the first rows of B; `read` cuts A to the module's width."""
    output, inner = parts["vera_lambda_b"], parts["vera_lambda_d"]
    b = parts["vera_B"][: len(output)] * output[:, None]
    return parts["vera_A"] * inner[:, None], b


def _alpha_over_rank(config: Mapping[str, Any], module: str) -> float:
    return scaling({**config, "lora_alpha": config["alpha"], "use_rslora": False}, module)


def _equal(first: object, second: object) -> None:
    if first != second:
        raise ValueError(f"{first} and {second} differ")


_LORA = frozenset(("lora_A", "lora_B"))
_LOHA = frozenset(("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"))
_LOKR = frozenset(f"lokr_{part}" for part in ["w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b"])
_VERA = frozenset(("vera_lambda_b", "vera_lambda_d"))

#: The kinds of adapters that can be held, by `peft_type`.
CONVERSIONS: dict[str, Conversion] = {
    "LORA": Conversion("held as it is", _LORA, _lora_sizes, _lora),
    "ADALORA": Conversion(
        "its singular values are multiplied into A", _LORA | {"lora_E"}, _adalora_sizes, _adalora
    ),
    "LOHA": Conversion("its Hadamard product is a LoRA of rank r²", _LOHA, _loha_sizes, _loha),
    "LOKR": Conversion("its Kronecker product is multiplied out", _LOKR, _lokr_sizes, _lokr),
    "VERA": Conversion(
        "its vectors are multiplied into the shared projections",
        _VERA,
        _vera_sizes,
        _vera,
        ("vera_A", "vera_B"),
    ),
}
