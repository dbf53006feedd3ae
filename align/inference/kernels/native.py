"""Operations in C, for CPU tensors; see cpu.c."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_float, c_int, c_long, c_void_p
from dataclasses import dataclass

import torch

from align.inference.kernels.batch import Batch, LayerCache
from align.inference.kernels.columns import Columns
from align.inference.kernels.ops import Attention, Heads, Pair, StackedLora
from align.inference.kernels.plain import PlainOps

#: Limits of cpu.c: its LANES and WIDEST.
_LANES, _WIDEST_HEAD = 16, 256


class _Layer(ctypes.Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("keys", "values", "query_norm", "key_norm")),
        *((name, c_int) for name in ("heads", "kv_heads", "head", "tokens", "window")),
        ("scale", c_float),
        ("eps", c_float),
    ]


class _Part(ctypes.Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("a", "b", "ranks")),
        *((name, c_int) for name in ("capacity", "out", "offset")),
    ]


_SIGNATURES = {
    "rms_norm": (c_void_p, c_void_p, c_void_p, c_long, c_int, c_float),
    "silu_mul": (c_void_p, c_void_p, c_long, c_int),
    "rotate_and_store": (*(c_void_p,) * 6, c_long),
    "attend": (*(c_void_p,) * 5, c_long),
    "lora": (c_void_p, c_int, c_void_p, c_void_p, c_void_p, c_long, c_int, c_int),
}


class NativeOps:
    """`Ops` over a compiled library."""

    few_launches = False

    def __init__(self, library: ctypes.CDLL):
        for name, arguments in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, None
        self._library = library

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """See `Ops`."""
        out = torch.empty_like(x)
        width = weight.shape[0]
        self._library.rms_norm(
            x.data_ptr(), weight.data_ptr(), out.data_ptr(), x.numel() // width, width, eps
        )
        return out

    def silu_mul(self, x: torch.Tensor) -> torch.Tensor:
        """See `Ops`."""
        width = x.shape[-1] // 2
        out = x.new_empty(*x.shape[:-1], width)
        self._library.silu_mul(x.data_ptr(), out.data_ptr(), out.numel() // width, width)
        return out

    def attention(self, heads: Heads, cache: LayerCache) -> Attention:
        """See `Ops`; in torch if the head size is no multiple of _LANES or over _WIDEST_HEAD."""
        if heads.head % _LANES or heads.head > _WIDEST_HEAD:
            return PlainOps().attention(heads, cache)
        return _NativeAttention(self._library, heads, cache)

    def lora(self, columns: Columns, weight: torch.Tensor, widths: Sequence[int]) -> StackedLora:
        """See `Ops`; each bank slot has the largest rank so far of any adapter in this layer."""
        return _NativeLora(self._library, columns, weight, widths)


class _NativeAttention:
    def __init__(self, library: ctypes.CDLL, heads: Heads, cache: LayerCache):
        self._library, self._heads = library, heads
        self._kept = (heads, cache)  # keeps the tensors alive: `_layer` only holds their addresses
        self._layer = _Layer(
            cache.keys.data_ptr(),
            cache.values.data_ptr(),
            0 if heads.query_norm is None else heads.query_norm.data_ptr(),
            0 if heads.key_norm is None else heads.key_norm.data_ptr(),
            heads.heads,
            heads.kv_heads,
            heads.head,
            cache.keys.shape[2],
            heads.window or 0,
            heads.scale,
            heads.eps,
        )
        self._address = ctypes.addressof(self._layer)

    def rotate_and_store(
        self, qkv: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        self._library.rotate_and_store(
            self._address,
            qkv.data_ptr(),
            cosine.data_ptr(),
            sine.data_ptr(),
            batch.slots.data_ptr(),
            batch.positions.data_ptr(),
            qkv.shape[0],
        )
        return qkv

    def attend(self, qkv: torch.Tensor, batch: Batch) -> torch.Tensor:
        rows = qkv.shape[0]
        out = qkv.new_empty(rows, self._heads.heads * self._heads.head)
        self._library.attend(
            self._address,
            qkv.data_ptr(),
            out.data_ptr(),
            batch.slots.data_ptr(),
            batch.positions.data_ptr(),
            rows,
        )
        return out


@dataclass(frozen=True)
class _Factors:
    """A range of a linear layer's outputs, and the LoRA factors of all bank slots for it.

    `a` is (slots, capacity, in), `b` is (slots, capacity, out), `ranks` is (slots,) int32: 0 if an
    adapter has no factors here. Rows of `a` and `b` beyond a rank are zero.
    """

    a: torch.Tensor
    b: torch.Tensor
    ranks: torch.Tensor
    offset: int


class _NativeLora:
    def __init__(
        self,
        library: ctypes.CDLL,
        columns: Columns,
        weight: torch.Tensor,
        widths: Sequence[int],
    ):
        self._library, self._columns = library, columns
        self._weight, self._widths = weight, tuple(widths)
        self._factors: tuple[_Factors, ...] = ()
        self._capacity = 0
        self._parts = (_Part * 0)()
        self._address = ctypes.addressof(self._parts)

    def put(self, slot: int, pairs: Sequence[Pair | None]) -> None:
        largest = max((pair[0].shape[0] for pair in pairs if pair is not None), default=0)
        if largest > self._capacity:
            self._grow(largest)
        for part, pair in zip(self._factors, pairs, strict=False):
            rank = 0 if pair is None else pair[0].shape[0]
            part.ranks[slot] = rank
            part.a[slot, rank:], part.b[slot, rank:] = 0, 0
            if pair is not None:
                part.a[slot, :rank], part.b[slot, :rank] = pair

    def _grow(self, rank: int) -> None:
        """Enlarge every slot to this rank and copy the factors that are loaded."""
        rank, old = min(1 << (rank - 1).bit_length(), self._columns.max_rank), self._factors
        slots, offset, factors = self._columns.slots, 0, []
        for index, width in enumerate(self._widths):
            a = self._weight.new_zeros(slots, rank, self._weight.shape[1])
            b = self._weight.new_zeros(slots, rank, width)
            ranks = torch.zeros(slots, dtype=torch.int32)
            if old:
                a[:, : self._capacity], b[:, : self._capacity] = old[index].a, old[index].b
                ranks = old[index].ranks
            factors.append(_Factors(a, b, ranks, offset))
            offset += width
        self._factors, self._capacity = tuple(factors), rank
        self._columns.version += 1
        self._parts = (_Part * len(factors))(*map(_part, factors))
        self._address = ctypes.addressof(self._parts)

    def add(self, x: torch.Tensor, y: torch.Tensor, batch: Batch) -> None:
        self._library.lora(
            self._address,
            len(self._parts),
            x.data_ptr(),
            y.data_ptr(),
            batch.bank.data_ptr(),
            x.shape[0],
            x.shape[1],
            y.shape[1],
        )


def _part(part: _Factors) -> _Part:
    return _Part(
        part.a.data_ptr(),
        part.b.data_ptr(),
        part.ranks.data_ptr(),
        part.a.shape[1],
        part.b.shape[2],
        part.offset,
    )
