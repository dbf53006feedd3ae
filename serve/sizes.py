"""How much one engine replica takes on at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from serve.batching.worker import ReplicaLimits

if TYPE_CHECKING:
    from align.inference import EngineOptions


class Sizes(BaseModel):
    """Sizes of an engine and its queue.

    `slots` completions are written at the same time, `waiting_rows` more wait, and what comes then
    is refused with 503. Each slot holds `slot_tokens` tokens of a prompt and its completion (None:
    as many as the memory and the base's context allow); all together take at most `kv_gib` GiB.
    `adapters` different ones share a batch, and `known_adapters` in all need no loading; for
    another a request waits at most `adapter_seconds`. All streams together are sent in about
    `stream_parts` parts a second, and each in at least five: among few streams each token comes by
    itself, among many several come at once.
    """

    model_config = ConfigDict(extra="forbid")

    slots: int = Field(default=64, ge=1)
    slot_tokens: int | None = Field(default=None, ge=2)
    kv_gib: FiniteFloat = Field(default=4, gt=0)
    adapters: int = Field(default=16, ge=1)
    known_adapters: int = Field(default=128, ge=1)
    adapter_seconds: FiniteFloat = Field(default=60, gt=0)
    waiting_rows: int = Field(default=1024, ge=1)
    default_max_tokens: int = Field(default=512, ge=1)
    stream_parts: int = Field(default=150, ge=1)

    def limits(self) -> ReplicaLimits:
        """For the worker."""
        return ReplicaLimits(
            slots=self.slots,
            waiting=self.waiting_rows,
            known_adapters=self.known_adapters,
            adapter_seconds=self.adapter_seconds,
            default_tokens=self.default_max_tokens,
            stream_parts=self.stream_parts,
        )

    def engine_options(self) -> EngineOptions:
        """For the engine."""
        from align.inference import EngineOptions

        return EngineOptions(
            slots=self.slots,
            slot_tokens=self.slot_tokens,
            kv_bytes=int(self.kv_gib * 2**30),
            adapters=self.adapters,
        )
