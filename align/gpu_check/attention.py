"""Check `attention`: which of torch's kernels every shape of attention really takes.

Calls of `scaled_dot_product_attention` are observed while a stage trains, with padded rows, with
rows of equal length and with single rows, and while the engine reads prompts and decodes. torch
chooses a kernel for each call; where none of the fused kernels takes its arguments it computes
`math`, which holds all weights in memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from align.base import Base, load_base
from align.data.splits import load_split
from align.data.user_rows import Row
from align.gpu_check.check import Check, Outcome, Setting, failed, passed
from align.gpu_check.prompts import greedy, prompts
from align.gpu_check.recipes import PARENT, recipe
from align.inference.engine import BankEngine
from align.inference.options import EngineOptions
from align.training.train import train

#: Operations of torch's kernels by a part of their names, and what they are called.
_KERNELS = {"flash": "flash", "efficient": "memory-efficient", "cudnn": "cuDNN"}
MATH = "math"


@dataclass(frozen=True)
class Call:
    """A call of attention: queries and keys a row has, heads of both, whether there is a mask."""

    queries: int
    keys: int
    heads: int
    kv_heads: int
    masked: bool
    kernel: str

    def __str__(self) -> str:
        mask = "with" if self.masked else "without"
        heads = f"{self.heads} and {self.kv_heads} heads"
        return f"{self.queries} queries on {self.keys} keys, {heads}, {mask} mask"


@dataclass
class Observed:
    """The distinct calls of a block, in their order."""

    calls: list[Call] = field(default_factory=list)

    @property
    def kernels(self) -> str:
        """The names of the kernels, in the order of their first use."""
        return ", ".join(dict.fromkeys(call.kernel for call in self.calls)) or "none"


class _Operations(TorchDispatchMode):
    """The names of torch's attention kernels that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernels: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if func is torch.ops.aten.scaled_dot_product_attention.default:
            with self:  # in inference mode the call is not taken apart before it comes here
                return func.decompose(*args, **(kwargs or {}))
        name = func.name()
        if "_attention" in name:
            self.kernels += [known for part, known in _KERNELS.items() if part in name]
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    """Notes each call of torch's attention with the kernel that it takes."""

    def __init__(self, observed: Observed):
        super().__init__()
        self._observed = observed

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        with _Operations() as operations:
            result = func(*args, **kwargs)
        query, key = args[0], args[1]
        masked = kwargs.get("attn_mask", args[3] if len(args) > 3 else None) is not None
        call = Call(
            queries=query.shape[-2],
            keys=key.shape[-2],
            heads=query.shape[-3],
            kv_heads=key.shape[-3],
            masked=masked,
            kernel=operations.kernels[0] if operations.kernels else MATH,
        )
        if call not in self._observed.calls:
            self._observed.calls.append(call)
        return result


@contextmanager
def observed() -> Iterator[Observed]:
    """Observe the calls of attention in this thread's block; not those of recomputed layers."""
    seen = Observed()
    with _Calls(seen):
        yield seen


def run(setting: Setting) -> Outcome:
    """See the module."""
    base = load_base(setting.base)
    phases = {**training_calls(base, setting), **engine_calls(base)}
    kernels = {phase: seen.kernels for phase, seen in phases.items()}
    figures = {
        "kernels": kernels,
        "calls": {
            phase: {str(call): call.kernel for call in seen.calls} for phase, seen in phases.items()
        },
    }
    slow = {
        phase: next(call for call in seen.calls if call.kernel == MATH)
        for phase, seen in phases.items()
        if MATH in seen.kernels
    }
    if slow:
        told = "; ".join(f"{phase} ({call})" for phase, call in slow.items())
        return failed(
            f"math instead of a fused kernel: {told}: slower, and memory grows with the square of "
            "the length; report it with the JSON",
            **figures,
        )
    if missing := [phase for phase, seen in phases.items() if not seen.calls]:
        return failed(f"no attention was seen in {', '.join(missing)}: report it", **figures)
    return passed("; ".join(f"{phase}: {names}" for phase, names in kernels.items()), **figures)


def training_calls(base: Base, setting: Setting) -> dict[str, Observed]:
    """The calls of one training step for each kind of micro-batch."""
    made = recipe(setting.base)
    rows = load_split(made, PARENT, "train")
    cases = {
        "padded rows": (rows[:4], 4),
        "equal rows": ([rows[0]] * 4, 4),
        "single rows": (rows[:4], 1),
    }
    return {
        name: _training_call(base, setting, name, chosen, size)
        for name, (chosen, size) in cases.items()
    }


def _training_call(
    base: Base, setting: Setting, name: str, rows: Sequence[Row], size: int
) -> Observed:
    stage = recipe(setting.base).stages[PARENT].resolve()
    sizes = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 4 // size}
    folder = setting.folder / "attention" / name.replace(" ", "-")
    with observed() as seen:
        train(
            base,
            stage.model_copy(update=sizes),
            copy.deepcopy(list(rows)),
            folder,
            to=1,
            steps=1,
            seed=0,
        )
    return seen


def engine_calls(base: Base) -> dict[str, Observed]:
    """The calls of the engine: those that read prompts, and those that decoding adds."""
    options = EngineOptions(slots=8, slot_tokens=512, adapters=1, cuda_graphs=False)
    engine = BankEngine(base, options)
    asked = prompts(base, 8)
    with observed() as reading:
        greedy(engine, asked, [None] * len(asked), tokens=1)
    with observed() as both:
        greedy(engine, asked, [None] * len(asked), tokens=4)
    decoding = [call for call in both.calls if call not in reading.calls]
    return {"prompts": reading, "decoding": Observed(decoding)}


CHECK = Check(
    "attention", run, seconds=15, card_only="torch's choice of a kernel is that of a card"
)
