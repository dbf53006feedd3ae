"""Sizes of an engine replica and of its queue."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from align.inference import EngineOptions
from serve.batching.worker import ReplicaLimits


class Sizes(BaseModel):
    """Sizes of an engine and its queue.

    `slots` completions are generated at the same time, `waiting_rows` more wait, and requests
    beyond those are refused with status 503. Each slot holds `slot_tokens` tokens of a prompt and
    its completion (None: as many as the memory and the base's context allow); all slots together
    take at most `kv_gib` GiB (None: 4 on a CPU, on a GPU what is free). `cuda_graphs` captures
    decode steps on a GPU. With `parse_control_tokens`, whoever writes a message can write control
    tokens in it, a system turn for example. Up to `adapters` different adapters share a batch, and
    `known_adapters` adapters stay loaded, in at most `known_gib` GiB of the host's memory if no
    more are in use; a request waits at most `adapter_seconds` for any other adapter. All streams
    together are sent in about `stream_parts` parts a second, and each stream in at least five: with
    few streams each token is sent separately, with many several tokens are sent together.
    """

    model_config = ConfigDict(extra="forbid")

    slots: int = Field(default=EngineOptions.slots, ge=1)
    slot_tokens: int | None = Field(default=EngineOptions.slot_tokens, ge=2)
    kv_gib: FiniteFloat | None = Field(default=None, gt=0)
    adapters: int = Field(default=EngineOptions.adapters, ge=1)
    cuda_graphs: bool = EngineOptions.cuda_graphs
    parse_control_tokens: bool = EngineOptions.parse_control_tokens
    known_adapters: int = Field(default=ReplicaLimits.known_adapters, ge=1)
    known_gib: FiniteFloat = Field(default=ReplicaLimits.known_bytes / 2**30, gt=0)
    adapter_seconds: FiniteFloat = Field(default=ReplicaLimits.adapter_seconds, gt=0)
    waiting_rows: int = Field(default=ReplicaLimits.waiting, ge=1)
    default_max_tokens: int = Field(default=ReplicaLimits.default_tokens, ge=1)
    stream_parts: int = Field(default=ReplicaLimits.stream_parts, ge=1)

    def limits(self) -> ReplicaLimits:
        """The worker's limits."""
        return ReplicaLimits(
            slots=self.slots,
            waiting=self.waiting_rows,
            known_adapters=self.known_adapters,
            known_bytes=int(self.known_gib * 2**30),
            adapter_seconds=self.adapter_seconds,
            default_tokens=self.default_max_tokens,
            stream_parts=self.stream_parts,
        )

    def engine_options(self) -> EngineOptions:
        """The engine's options."""
        return EngineOptions(
            slots=self.slots,
            slot_tokens=self.slot_tokens,
            kv_bytes=None if self.kv_gib is None else int(self.kv_gib * 2**30),
            adapters=self.adapters,
            cuda_graphs=self.cuda_graphs,
            parse_control_tokens=self.parse_control_tokens,
        )
