"""Tensors that claim to be on a CUDA card, with real values in CPU memory.

Within `Card()` a request for a CUDA device (`device="cuda"`, `.to("cuda")`, `.cuda()`) gives a
`CardTensor`. Its operations are computed on the CPU, but they obey the rules of a card:

- An operation on a card's tensor and a CPU tensor of one or more dimensions raises `CardError`, as
  torch does ("Expected all tensors to be on the same device"). CPU tensors without dimensions are
  allowed, except in `cat` and `stack`. CPU tensors as an index are refused too,
  unless that is asked for: torch takes them, with a transfer at each use.
- Copies to the card are counted as `uploads`, among them a list as an index.
- Whatever makes the host wait for values of the card is counted as `reads`: `item`, `tolist`,
  `bool`, `cpu`, `nonzero`, boolean indexing, and others whose result's size depends on values.

C++ code of torch sees CPU tensors, so no CUDA build is needed, and autograd works.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from align.memory.machines import gpu

DEVICE = torch.device("cuda", 0)
#: Bytes of the card, all of them free: a T4's.
MEMORY = gpu("T4").memory

#: Operations whose result is a number, or has a size that depends on values.
_WAITS = frozenset({
    "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal",
    "aten::_unique2", "aten::unique_dim", "aten::unique_consecutive", "aten::bincount",
    # In inference mode these arrive as they are; elsewhere as those above.
    "aten::item", "aten::is_nonzero", "aten::allclose", "aten::argwhere", "aten::nonzero_numpy",
})  # fmt: skip
#: Methods that return values of a tensor to the host.
_READS = frozenset({"tolist", "numpy", "__array__"})
_MOVES = frozenset({"to", "cuda", "cpu"})
_FROM_VALUES = frozenset({"tensor", "as_tensor", "new_tensor"})
#: Operations that take no CPU tensor at all, whatever its dimensions.
_STRICT = frozenset({"aten::cat", "aten::stack"})


class CardError(AssertionError):
    """An operation that a card refuses, or that makes the host wait more often than allowed."""


class CardTensor(torch.Tensor):
    """A tensor whose `device` is `cuda:0`; `held` has its values."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, real: torch.Tensor) -> CardTensor:
        with torch.inference_mode(False):  # a view of a tensor from before it cannot be inside it
            return torch.Tensor._make_wrapper_subclass(
                cls,
                real.size(),
                strides=real.stride(),
                storage_offset=real.storage_offset(),
                dtype=real.dtype,
                device=real.device,
            )

    def __init__(self, real: torch.Tensor):
        self.held = real

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return DEVICE

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        return False

    def get_device(self) -> int:
        return 0

    def __repr__(self, **_: Any) -> str:
        return f"CardTensor({self.held!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        result: Any = CardTensor(self.held.clone())
        if isinstance(self, nn.Parameter):
            result = nn.Parameter(result, requires_grad=self.requires_grad)
        memo[id(self)] = result
        return result

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with torch._C.DisableTorchFunction():
            return _dispatch(func, args, kwargs or {})


class Card(TorchFunctionMode):
    """Counts transfers of the code within its block, and makes tensors of its CUDA requests.

    `reads` and `uploads` name each operation that transferred values. With `cpu_indices` an index
    from the CPU is an upload, as in code of libraries, and else an error.
    """

    def __init__(self, cpu_indices: bool = False) -> None:
        super().__init__()
        self.cpu_indices = cpu_indices
        self.reads: list[str] = []
        self.uploads: list[str] = []
        self._limit: int | None = None

    def __enter__(self) -> Card:
        if not _active:
            _driver.start()
        _active.append(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _active.pop()
        if not _active:
            _driver.stop()

    @contextmanager
    def at_most(self, reads: int) -> Iterator[None]:
        """Raise CardError at the first read in this block beyond `reads`."""
        before, self._limit = self._limit, len(self.reads) + reads
        try:
            yield
        finally:
            self._limit = before

    def count_read(self, what: str) -> None:
        """Count a transfer from the card. CardError if it is one too many."""
        self.reads.append(what)
        if self._limit is not None and len(self.reads) > self._limit:
            raise CardError(f"a value is read back from the card where it must not be: {what}")

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        kwargs.pop("pin_memory", None)  # needs a driver; it changes no value
        on_card = bool(args) and isinstance(args[0], CardTensor)
        if name == "pin_memory":
            return args[0]
        if name in _READS and on_card:
            self.count_read(name)
            return func(args[0].held, *args[1:], **kwargs)
        if name in _MOVES and args and isinstance(args[0], torch.Tensor):
            return self._move(func, args, kwargs)
        if name == "backward" and on_card:
            return self._backward(func, args, kwargs)
        if name == "__set__" and func == torch.Tensor.data.__set__ and on_card:  # type: ignore[attr-defined]
            args[0].held = args[1].held
            return None
        if name in ("__getitem__", "__setitem__") and on_card:
            args = (args[0], self._index(args[1]), *args[2:])
        if name == "scaled_dot_product_attention" and on_card:
            kwargs = _with_mask(args, kwargs)
        return self._make(func, args, kwargs, name, on_card)

    def _backward(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Gradients, with this mode on: backward passes in Python make tensors too."""
        engine = torch.autograd._engine_run_backward  # type: ignore[attr-defined]

        def run(*inner: Any, **options: Any) -> Any:
            with self:
                return engine(*inner, **options)

        with patch("torch.autograd._engine_run_backward", run):
            return func(*args, **kwargs)

    def _make(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], name: str, on_card: bool
    ) -> Any:
        """The result of a call that may ask for a device."""
        asked = kwargs.pop("device", None)
        target = DEVICE if asked is None and on_card else _device(asked)
        if asked is not None and not on_card:
            kwargs["device"] = "cpu" if target == DEVICE else asked
        result = func(*args, **kwargs)
        if asked is None and name != "new_tensor":
            return result
        if target != DEVICE:
            return tree_map(_unwrap, result)
        if name in _FROM_VALUES:
            self.uploads.append(name)
        return tree_map(_wrap, result)

    def _move(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`to`, `cpu` and `cuda`: the conversion first, then the transfer."""
        tensor, name, target = args[0], func.__name__, args[0].device
        kwargs = {key: value for key, value in kwargs.items() if key != "non_blocking"}
        asked = [*args[1:], kwargs.pop("other", None), kwargs.pop("device", None)]
        if name != "to":
            asked = [DEVICE if name == "cuda" else torch.device("cpu")]
        for value in asked:
            if isinstance(value, torch.Tensor):
                target, kwargs["dtype"] = value.device, value.dtype
            elif isinstance(value, str | torch.device):
                target = _device(value)
            elif isinstance(value, torch.dtype):
                kwargs["dtype"] = value
        result = func(tensor, **kwargs) if name == "to" and kwargs else tensor
        if target == tensor.device:
            return result
        if target == DEVICE:
            self.uploads.append(name)
            return CardTensor(result.detach().clone())
        self.count_read(name)
        return _unwrap(result).clone()

    def _index(self, index: Any) -> Any:
        """The index with its lists on the card, as torch puts them there."""
        if isinstance(index, tuple):
            return tuple(self._index(part) for part in index)
        if isinstance(index, list):
            self.uploads.append("a list as an index")
            return CardTensor(torch.tensor(index))
        return index


class _Event:
    """An event of a card whose work is done as soon as it is asked for."""

    def record(self) -> None:
        """Nothing is queued."""

    def synchronize(self) -> None:
        """Nothing has to be waited for; the copy before it is counted."""


_active: list[Card] = []
#: What the driver says of a card that is free.
_driver = patch.multiple(
    "torch.cuda",
    Event=_Event,
    current_stream=lambda *_: SimpleNamespace(synchronize=lambda: None),
    mem_get_info=lambda *_: (MEMORY, MEMORY),
    get_per_process_memory_fraction=lambda *_: 1.0,
    memory_reserved=lambda *_: 0,
    memory_allocated=lambda *_: 0,
)


def on_card(model: Any) -> Any:
    """A copy of a module tree with all parameters and buffers on the card; ties remain ties."""
    model, moved = copy.deepcopy(model), dict[int, Any]()
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and not isinstance(parameter, CardTensor):
                if id(parameter) not in moved:
                    moved[id(parameter)] = _parameter(parameter)
                module._parameters[name] = moved[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None and not isinstance(buffer, CardTensor):
                module._buffers[name] = CardTensor(buffer)
    return model


def _with_mask(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Causal attention by a mask on the card, where C++ code would make the mask on the CPU."""
    if not kwargs.get("is_causal") or (args[0].dim() == 4 and not kwargs.get("enable_gqa")):
        return kwargs
    visible = torch.ones(args[0].shape[-2], args[1].shape[-2], dtype=torch.bool).tril()
    return {**kwargs, "is_causal": False, "attn_mask": CardTensor(visible)}


def _parameter(parameter: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(CardTensor(parameter.detach()), requires_grad=parameter.requires_grad)


def _dispatch(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute an operation with at least one tensor of the card, and check what a card would."""
    flat, spec = tree_flatten((args, kwargs))
    name = func._schema.name
    moved = _check(name, func, args, flat)
    known: dict[int, torch.Tensor] = {
        id(_unwrap(value)): value for value in flat if isinstance(value, torch.Tensor)
    }
    real_args, real_kwargs = tree_unflatten([_unwrap(value) for value in flat], spec)
    result = func(*real_args, **real_kwargs)
    if moved is not None and _active:
        moved(_active[-1])
    return tree_map(lambda value: _wrapped_once(value, known), result)


def _check(
    name: str, func: Any, args: tuple[Any, ...], flat: list[Any]
) -> Callable[[Card], None] | None:
    """CardError if devices are mixed; what the card has to count, or None."""
    tensors = [value for value in flat if isinstance(value, torch.Tensor)]
    on_cpu = [value for value in tensors if not isinstance(value, CardTensor)]
    if name == "aten::copy_" and on_cpu:
        if isinstance(args[0], CardTensor):
            return lambda card: card.uploads.append("copy_")
        return lambda card: card.count_read("copy_")
    lenient = bool(_active) and _active[-1].cpu_indices and name == "aten::index"
    if lenient and on_cpu and isinstance(args[0], CardTensor):
        return lambda card: card.uploads.append("an index from the CPU")
    wrong = [value for value in on_cpu if value.dim() or name in _STRICT]
    if wrong:
        shapes = ", ".join(f"{_place(value)} {tuple(value.shape)}" for value in tensors)
        raise CardError(f"{func} mixes devices: {shapes}")
    where = name == "aten::where" and len(args) == 1
    if name in _WAITS or where or _selects_by_mask(name, args):
        return lambda card: card.count_read(f"{func} of {tuple(tensors[0].shape)}")
    return None


def _selects_by_mask(name: str, args: tuple[Any, ...]) -> bool:
    """Whether an index is a mask, so that its number of elements has to be known to the host.

    Writing a single value by a mask is `masked_fill_` in torch, which waits for nothing.
    """
    if name not in ("aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"):
        return False
    masks = [index for index in args[1] if index is not None and index.dtype in _MASKS]
    return bool(masks) and (name == "aten::index" or args[2].numel() != 1)


_MASKS = (torch.bool, torch.uint8)


def _wrapped_once(value: Any, known: dict[int, torch.Tensor]) -> Any:
    """An argument that is returned (by an operation in place) stays the same object."""
    return known.get(id(value)) if id(value) in known else _wrap(value)


def _wrap(value: Any) -> Any:
    plain = isinstance(value, torch.Tensor) and not isinstance(value, CardTensor)
    return CardTensor(value) if plain else value


def _unwrap(value: Any) -> Any:
    return value.held if isinstance(value, CardTensor) else value


def _place(tensor: torch.Tensor) -> str:
    return "card" if isinstance(tensor, CardTensor) else "cpu"


def _device(value: Any) -> torch.device | None:
    """The device that is asked for; any CUDA device is the card."""
    if value is None:
        return None
    device = torch.device("cuda", value) if isinstance(value, int) else torch.device(value)
    return DEVICE if device.type == "cuda" else device
