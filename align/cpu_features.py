"""Which instructions of the processor are used: all, or none beyond AVX2.

`ALIGNERY_CPU=plain` makes a newer processor compute as an older one does: in float32, with AVX2
at most. The speed of its cores and memory remains.
"""

from __future__ import annotations

import os
import platform

from align.errors import ModelError

#: The environment variable that limits the instructions, and its only value.
CPU = "ALIGNERY_CPU"
PLAIN = "plain"
#: What torch's own kernels, oneDNN and MKL may use; each reads its variable at its first kernel.
LIMITS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}


def is_plain() -> bool:
    """Whether ALIGNERY_CPU asks for AVX2 and float32 only. ModelError for an unknown value."""
    value = os.environ.get(CPU, "")
    if value not in ("", PLAIN):
        raise ModelError(f"{CPU}={value}: unknown; allowed: {PLAIN}, or unset")
    return value == PLAIN


def limit_instructions() -> None:
    """Set the variables of `LIMITS` if ALIGNERY_CPU=plain. To be called before torch is imported.

    Processes that this process starts inherit them, Ray's workers included. ModelError for an
    unknown value.
    """
    if is_plain():
        os.environ.update(LIMITS)


def march() -> str:
    """The processor that C code is compiled for, as a value of `-march`."""
    # Haswell is the first with AVX2 and FMA; compilers know this name longer than x86-64-v3.
    return "haswell" if is_plain() and platform.machine() in ("x86_64", "AMD64") else "native"
