"""Capacity limits of an engine. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from align.errors import RequestError

TALLEST = 1024  # largest rank, as in cpu.c


@dataclass(frozen=True)
class EngineOptions:
    """Limits of an engine. `kv_bytes` and `adapters` x rank determine its memory.

    At most `slots` sequences are processed at a time; each has room for `slot_tokens` (None: as
    many as `kv_bytes` and the model's context allow). The bank holds `adapters` of at most
    `max_rank` at a time; any number can be loaded. While any sequence decodes, a step prefills at
    most `chunk_tokens`. `reuse` retains keys and values for prompts with the same prefix.
    `cuda_graphs` records decode steps on a GPU; it has no effect on a CPU.
    """

    slots: int = 64
    slot_tokens: int | None = None
    kv_bytes: int = 4 * 2**30
    adapters: int = 16
    max_rank: int = 128
    chunk_tokens: int = 512
    reuse: bool = True
    cuda_graphs: bool = True

    def __post_init__(self) -> None:
        """RequestError names the first option that is out of range."""
        for name in ("slots", "kv_bytes", "adapters", "chunk_tokens"):
            if getattr(self, name) < 1:
                raise RequestError(f"{name}={getattr(self, name)}: at least 1 is needed")
        if not 1 <= self.max_rank <= TALLEST:
            raise RequestError(f"max_rank={self.max_rank}: 1 to {TALLEST} are possible")


#: For a worker that trains on the same card: sequences as long, half the memory, fewer adapters.
BESIDE_TRAINING = EngineOptions(slots=32, kv_bytes=2 * 2**30, adapters=4)
