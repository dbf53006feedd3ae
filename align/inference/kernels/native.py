"""Operations in C, for CPU tensors; see cpu.c."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_float, c_int, c_long, c_void_p

import torch

from align.inference.kernels.batch import Batch, LayerCache, LoraPart
from align.inference.kernels.ops import Attention, Heads, StackedLora
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

    def lora(self, parts: Sequence[LoraPart]) -> StackedLora:
        """See `Ops`."""
        return _NativeLora(self._library, parts)


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


class _NativeLora:
    def __init__(self, library: ctypes.CDLL, parts: Sequence[LoraPart]):
        self._library, self._kept = library, tuple(parts)
        self._parts = (_Part * len(parts))(*map(_part, parts))
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


def _part(part: LoraPart) -> _Part:
    return _Part(
        part.a.data_ptr(),
        part.b.data_ptr(),
        part.ranks.data_ptr(),
        part.a.shape[1],
        part.b.shape[2],
        part.offset,
    )
