"""Capacity limits of an engine. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from align.errors import RequestError

TALLEST = 1024  # largest rank, as in cpu.c
#: Bytes of keys and values on a CPU if `kv_bytes` is not given; only what is used is taken.
KV_BYTES_ON_CPU = 4 * 2**30
#: The environment variable that turns CUDA graphs off in workers that train.
CUDA_GRAPHS = "ALIGNERY_CUDA_GRAPHS"
#: The lengths of slots that grow are multiples of this number of tokens.
_STEP = 256


@dataclass(frozen=True)
class EngineOptions:
    """Limits of an engine.

    At most `slots` sequences are processed at a time; each has room for `slot_tokens` (None: as
    many as `kv_bytes` and the model's context allow). `kv_bytes` None takes 4 GiB on a CPU, and on
    a GPU what is free beside the rest (`align.inference.memory_plan`). On a GPU, slots have room
    for `first_tokens` at first (None: for all), and get more when a sequence needs it. The bank
    holds `adapters` of at most `max_rank` at a time; any number can be loaded. While any sequence
    decodes, a step prefills at most `chunk_tokens`. `reuse` retains keys and values for prompts
    with the same prefix. `cuda_graphs` captures decode steps on a GPU; it has no effect on a CPU.
    With `parse_control_tokens`, the text of a control token in a message becomes that token;
    otherwise it stays text (`align.chat_encoder`).
    """

    slots: int = 64
    slot_tokens: int | None = None
    kv_bytes: int | None = None
    first_tokens: int | None = None
    adapters: int = 16
    max_rank: int = 128
    chunk_tokens: int = 512
    reuse: bool = True
    cuda_graphs: bool = True
    parse_control_tokens: bool = False

    def __post_init__(self) -> None:
        """RequestError names the first option that is out of range."""
        for name in ("slots", "kv_bytes", "first_tokens", "adapters", "chunk_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RequestError(f"{name}={value}: at least 1 is needed")
        if not 1 <= self.max_rank <= TALLEST:
            raise RequestError(f"max_rank={self.max_rank}: 1 to {TALLEST} are possible")


#: For a worker that trains on the same card: fewer sequences and adapters, and slots that are as
#: long as its recipe's sequences (`align.memory.generation`).
BESIDE_TRAINING = EngineOptions(slots=32, kv_bytes=2 * 2**30, first_tokens=_STEP, adapters=4)


def beside_training(cuda_graphs: str | None) -> EngineOptions:
    """BESIDE_TRAINING, without CUDA graphs if the variable ALIGNERY_CUDA_GRAPHS has the value 0.

    RequestError for a value other than 0 and 1.
    """
    if cuda_graphs not in (None, "", "0", "1"):
        raise RequestError(f"{CUDA_GRAPHS}={cuda_graphs}: expected 0 (off) or 1 (on, the default)")
    return replace(BESIDE_TRAINING, cuda_graphs=cuda_graphs != "0")


def lengthened(tokens: int, limit: int) -> int:
    """Tokens of slots that are to hold sequences of `tokens`: a multiple of 256, or `limit`."""
    return min(limit, -(-tokens // _STEP) * _STEP)
