"""Whether a process can use the GPU that it was given, checked before anything is loaded on it."""

from __future__ import annotations

import re
import socket
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from align.errors import GpuError
from align.gpu_cards import CONTEXT, GIB
from align.gpu_errors import lost_gpu

#: Seconds to wait for memory of a card.
PATIENCE = 10.0
#: The oldest driver for each major version of CUDA (NVIDIA's table of CUDA compatibility).
_DRIVERS = {"11": "450", "12": "525", "13": "580"}
#: Torch's message of a driver that is too old, with its CUDA version as major x 1000 + minor x 10.
_TOO_OLD = re.compile(r"driver on your system is too old \(found version (\d+)\)")
_ON_CPU = (
    "or set CUDA_VISIBLE_DEVICES to nothing before the Ray of this machine starts, so that it "
    "computes on the CPU"
)
_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")


@dataclass(frozen=True)
class CardFacts:
    """A process's card, as CUDA describes it.

    `cuda` is the version that torch was built for, None for a build without CUDA, and
    `architectures` are those that the build has code for (`torch.cuda.get_arch_list()`). `refusal`
    is the message of a CUDA that cannot start; then the rest is unknown. `free` and `total` are in
    bytes.
    """

    cuda: str | None
    architectures: tuple[str, ...] = ()
    refusal: str = ""
    name: str = "GPU"
    capability: tuple[int, int] = (0, 0)
    free: int = 0
    total: int = 0


@dataclass(frozen=True)
class GpuNeeds:
    """Bytes that a process will certainly need: for weights, and for keys and values.

    The user can lower `cache` by the setting `cache_setting`, which is in GiB.
    """

    weights: int = 0
    cache: int = 0
    cache_setting: str = "kv_gib"


def find_fault(card: CardFacts, share: float = 1.0, needs: GpuNeeds | None = None) -> str:
    """Why `share` of the card cannot be used, and what would help; empty if nothing is wrong."""
    if card.cuda is None:
        return (
            "a GPU is to be used, and the installed PyTorch is a build without CUDA; install a "
            f"build with it, {_ON_CPU}"
        )
    if card.refusal:
        return _refused(card.refusal, card.cuda)
    if not has_code(card.architectures, card.capability):
        return _no_code(card)
    return "" if needs is None else _memory_fault(card, share, needs)


def has_code(architectures: Iterable[str], capability: tuple[int, int]) -> bool:
    """Whether a build with these architectures runs on a card of this compute capability.

    Machine code (`sm_75`) runs on cards of the same major and the same or a later minor version,
    PTX (`compute_90`) on all later cards. Of the suffixes, `a` allows the very same version only,
    and `f` the same major version (CUDA C++ Programming Guide, "Compute Capabilities").
    """
    for architecture in architectures:
        if (match := _ARCHITECTURE.fullmatch(architecture)) is None:
            continue
        kind, major, minor, suffix = match.groups()
        version = int(major), int(minor)
        same_major = version[0] == capability[0]
        if suffix == "a":
            fits = version == capability
        else:
            fits = version <= capability and (same_major or (kind == "compute" and not suffix))
        if fits:
            return True
    return False


def read_card() -> CardFacts:
    """This process's card. Starts CUDA, whose errors are part of the result.

    GpuLost if an earlier device error has ended the use of the card.
    """
    import torch

    cuda, architectures = torch.version.cuda, tuple(torch.cuda.get_arch_list())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of what `find_fault` says in a line
            torch.cuda.init()
            free, total = torch.cuda.mem_get_info()
        name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    except Exception as error:  # AssertionError, RuntimeError, or torch's DeferredCudaCallError
        if (lost := lost_gpu(error)) is not None:
            raise lost from error
        return CardFacts(cuda, architectures, refusal=str(error) or type(error).__name__)
    return CardFacts(cuda, architectures, "", name, capability, free, total)


def check_card(share: float = 1.0, needs: GpuNeeds | None = None) -> None:
    """GpuError, with this machine's name, if the process cannot use its card as asked.

    Memory is only checked while torch has none: later the process's own tensors would count as
    others'. A process that has just ended on the card has `PATIENCE` seconds to free its memory.
    """
    import torch

    fresh = not torch.cuda.is_initialized()
    card = read_card()
    fault = find_fault(card)
    if fresh and not fault:
        deadline = time.monotonic() + PATIENCE
        while (fault := find_fault(card, share, needs)) and time.monotonic() < deadline:
            time.sleep(0.2)
            card = read_card()
    if fault:
        raise GpuError(f"{socket.gethostname()}: {fault}")


def _refused(message: str, cuda: str) -> str:
    oldest = (
        f"version {driver}" if (driver := _DRIVERS.get(cuda.partition(".")[0])) else "a version"
    )
    if match := _TOO_OLD.search(message):
        version = int(match.group(1))
        return (
            f"the NVIDIA driver supports CUDA {version // 1000}.{version % 1000 // 10}, and the "
            f"installed PyTorch is built for CUDA {cuda}; install {oldest} of the driver, or "
            f"newer, {_ON_CPU}"
        )
    if "no NVIDIA driver" in message or "No CUDA GPUs are available" in message:
        return (
            f"no NVIDIA driver or no card is visible here; install {oldest} of the driver or "
            f"newer, and give a container access to the card (`docker run --gpus all`), {_ON_CPU}"
        )
    if "busy or unavailable" in message:
        return (
            "another process holds the card for itself (compute mode Exclusive); `nvidia-smi` "
            "shows which"
        )
    return f"CUDA does not start: {message.strip().splitlines()[0]}; `nvidia-smi` shows the card"


def _no_code(card: CardFacts) -> str:
    matches = map(_ARCHITECTURE.fullmatch, card.architectures)
    versions = sorted({(int(match[2]), int(match[3])) for match in matches if match})
    known = ", ".join(f"{major}.{minor}" for major, minor in versions)
    own = f"{card.capability[0]}.{card.capability[1]}"
    return (
        f"{card.name} has compute capability {own}, and the installed PyTorch (CUDA {card.cuda}) "
        f"has code for {known} only; take such a card, a T4 (7.5) for example, or "
        f"install a build of PyTorch with code for {own}"
    )


def _memory_fault(card: CardFacts, share: float, needs: GpuNeeds) -> str:
    needed = needs.weights + needs.cache
    allowed = card.free if share >= 1 else min(card.free, int(share * card.total) - CONTEXT)
    if needed <= allowed:
        return ""
    parts = [f"{_gib(needs.weights)} for weights"] if needs.weights else []
    parts += [f"{_gib(needs.cache)} for keys and values"] if needs.cache else []
    if allowed == card.free:
        held = _gib(card.total - card.free)
        reason = (
            f"{_gib(card.free)} of the {_gib(card.total)} GiB of this {card.name} are free; other "
            f"processes and CUDA itself hold {held} (`nvidia-smi` lists them)"
        )
    else:
        reason = (
            f"{share:g} of this {card.name} has room for {_gib(max(0, allowed))} GiB of tensors"
        )
    wanted = f"{_gib(needed)} GiB are needed ({', '.join(parts)})"
    return f"{wanted}, and {reason}; {_remedy(allowed, needs)}"


def _remedy(allowed: int, needs: GpuNeeds) -> str:
    room = (allowed - needs.weights) / GIB
    if needs.cache and room >= 0.1:  # less is no cache to speak of
        return f"{needs.cache_setting} of at most {int(room * 10) / 10:g} would fit"
    return "free the card, or take a larger card or a smaller base"


def _gib(count: int) -> str:
    return f"{count / GIB:.2f}"
