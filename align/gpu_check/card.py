"""Check `card`: a product on the card is right, and the dtype is the card's."""

from __future__ import annotations

from typing import Any

import torch

from align.gpu_check.check import Check, Outcome, Setting, failed, passed
from align.gpu_check.facts import card, machine
from align.memory.machines import GIB
from align.precision import choose, precision

#: The largest relative error of a product of random matrices in the dtype of training.
_ERROR = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 3e-2}
#: Share of a card in use by others from which the figures of memory and speed are doubtful.
_BUSY = 0.05


def run(setting: Setting) -> Outcome:
    """See the module."""
    if not setting.on_card:
        return _policy()
    facts, dtype = card(), precision().dtype
    assert facts is not None  # a setting on a card was made where there is one
    sees = f"{facts['name']} of {facts['memory'] / GIB:.2f} GiB, {precision().name}"
    if problem := wrong_dtype((facts["capability"][0], facts["capability"][1]), dtype):
        return failed(problem, **facts)
    error = product_error("cuda", dtype)
    free, total = torch.cuda.mem_get_info()
    figures: dict[str, Any] = {
        **facts, "free": free, "dtype": precision().name, "product_error": error,
    }  # fmt: skip
    if not error <= _ERROR[precision().name]:
        return failed(
            f"{sees}: a matrix product is off by {error:.1e}: update the driver, and run "
            "`nvidia-smi -q -d ECC` for errors of its memory",
            **figures,
        )
    held = total - free
    if held > _BUSY * total + GIB:  # this process's own context is below 1 GiB
        sees += f"; {held / GIB:.1f} GiB are in use already: end other programs (nvidia-smi)"
    return passed(sees, **figures)


def _policy() -> Outcome:
    """What holds without a card: the dtype policy, also for a T4."""
    t4 = choose("cuda", (7, 5), False).name
    here, cores = precision().name, machine()["cores"]
    if t4 != "float16":
        return failed(f"the policy gives a T4 {t4}: it computes float16 alone; a bug", t4=t4)
    return passed(f"no card: {here} on {cores} cores; a T4 would take {t4}", dtype=here, t4=t4)


def wrong_dtype(capability: tuple[int, int], dtype: torch.dtype) -> str:
    """What is wrong about training in `dtype` on such a card; empty if nothing."""
    if dtype == torch.float32:
        return "training would be in float32: the card is not used; see ALIGNERY_GPU"
    if dtype == torch.bfloat16 and capability < (8, 0):
        major, minor = capability
        return f"bfloat16 is only emulated at capability {major}.{minor}: a bug in the dtype policy"
    return ""


def product_error(device: str, dtype: torch.dtype) -> float:
    """Relative error of a product (512, 512) in `dtype` on `device`, against fp64 on the CPU."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(512, 512, generator=generator).to(dtype) for _ in range(2))
    exact = left.double() @ right.double()
    got = (left.to(device) @ right.to(device)).double().cpu()
    return float((got - exact).norm() / exact.norm())


CHECK = Check("card", run, seconds=8, cpu_seconds=1)
