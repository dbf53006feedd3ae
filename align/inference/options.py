"""How much an engine takes on. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from align.errors import RequestError

TALLEST = 1024  # rank: as cpu.c has it


@dataclass(frozen=True)
class EngineOptions:
    """Limits of an engine; memory is taken by `kv_bytes` and by `adapters` x rank.

    `slots` sequences are read and written at a time; each has room for `slot_tokens` (None: as
    many as `kv_bytes` and the model's context allow). `adapters` of at most `max_rank` are in the
    bank at a time, any number can be known. While something is written, a step reads at most
    `chunk_tokens` of prompts. `reuse` keeps what was read for prompts that begin alike.
    `cuda_graphs` records decode steps on a GPU; a CPU has no use for it.
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
        """RequestError names an option that is out of its range."""
        for name in ("slots", "kv_bytes", "adapters", "chunk_tokens"):
            if getattr(self, name) < 1:
                raise RequestError(f"{name}={getattr(self, name)}: at least 1 is needed")
        if not 1 <= self.max_rank <= TALLEST:
            raise RequestError(f"max_rank={self.max_rank}: 1 to {TALLEST} are possible")


#: Of a worker that trains on the same card: as long sequences at half the memory, and few adapters.
BESIDE_TRAINING = EngineOptions(slots=32, kv_bytes=2 * 2**30, adapters=4)
