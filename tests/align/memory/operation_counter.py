"""Counts what a forward pass launches on a card, on meta tensors: nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from align.memory.counts import Counts

#: Operations that launch nothing although their schema has a new result.
_NO_KERNEL = frozenset({
    "aten::empty", "aten::empty_strided", "aten::new_empty", "aten::empty_like", "aten::detach",
    "aten::_unsafe_view", "aten::_reshape_alias", "aten::lift_fresh", "aten::new_empty_strided",
})  # fmt: skip
#: Operations that read of their first argument as many elements as the result has.
_GATHERS = frozenset({"aten::index", "aten::embedding", "aten::index_select", "aten::gather"})
#: Position of the second-last factor of each matrix product.
_PRODUCTS = {"aten::mm": 0, "aten::bmm": 0, "aten::addmm": 1, "aten::baddbmm": 1, "aten::addmm_": 1,
             "aten::baddbmm_": 1}  # fmt: skip


class OperationCounter(TorchDispatchMode):
    """Sums launches, bytes and operations in its block. Copies from the CPU are not counted."""

    def __init__(self) -> None:
        super().__init__()
        self.total = Counts()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result, name = func(*args, **(kwargs or {})), func._schema.name
        if name in _NO_KERNEL or func.is_view:
            return result
        inputs, outputs = _tensors((args, kwargs)), _tensors(result)
        if not any(tensor.is_meta for tensor in outputs):
            return result
        if name in ("aten::_to_copy", "aten::copy_") and not all(t.is_meta for t in inputs):
            return result
        self.total += Counts(1, _moved(name, args, inputs, outputs), _operations(name, args))
        return result


class _FusedKernels(TorchFunctionMode):
    """Attention and norms as the kernel that a card launches; meta tensors take them apart."""

    def __init__(self, counter: OperationCounter):
        super().__init__()
        self._counter = counter

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in (functional.rms_norm, torch.rms_norm):
            tensors = _tensors([args, kwargs])
            self._counter.total += Counts(1, _bytes(args[0]) + sum(map(_bytes, tensors)))
            return torch.empty_like(args[0])
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = args[:3]
        mask = (kwargs or {}).get("attn_mask")
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        size = sum(map(_bytes, _tensors([query, key, value, mask, out])))
        pairs = query[..., 0].numel() * key.shape[-2]
        operations = 2 * pairs * (query.shape[-1] + value.shape[-1])
        self._counter.total += Counts(1, size, operations)
        return out


@contextmanager
def counted() -> Iterator[OperationCounter]:
    """Count the block's operations."""
    counter = OperationCounter()
    with torch.no_grad(), _FusedKernels(counter), counter:
        yield counter


def _tensors(values: Any) -> list[torch.Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def _bytes(tensor: torch.Tensor) -> int:
    """Bytes of a tensor's distinct elements: what is expanded is read once."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride else 1
    return count * tensor.element_size() if tensor.numel() else 0


def _moved(
    name: str, args: tuple[Any, ...], inputs: list[torch.Tensor], outputs: list[torch.Tensor]
) -> int:
    if name in ("aten::index_put_", "aten::_index_put_impl_"):
        return sum(map(_bytes, _tensors(args[1]))) + 2 * _bytes(args[2])
    whole = inputs
    if name in _GATHERS:
        whole = [tensor for tensor in inputs if tensor is not args[0]] + outputs
    return sum(map(_bytes, whole)) + sum(map(_bytes, outputs))


def _operations(name: str, args: tuple[Any, ...]) -> int:
    if name not in _PRODUCTS:
        return 0
    left, right = args[_PRODUCTS[name] :][:2]
    return 2 * left.numel() * int(right.shape[-1])
