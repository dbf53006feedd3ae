"""What an engine counts."""

from __future__ import annotations

import asyncio

from serve.batching.jobs import AdapterRef, GenerateJob
from serve.batching.worker import ReplicaLimits, Worker
from serve.metrics.snapshots import collect, page
from tests.serve.metric_samples import samples
from tests.serve.serve_fakes import FakeEngine, FakeVocabulary


def test_an_engine_counts_tokens_and_times_by_adapter(tmp_path):
    (tmp_path / "manifest.json").touch()
    engine = FakeEngine()
    worker = Worker(engine, lambda _: tmp_path, FakeVocabulary(engine.words), ReplicaLimits())
    chat = ({"role": "user", "content": "hello"},)
    adapter = AdapterRef("x" * 64, "arithmetic/sft:1")

    async def go() -> None:
        for job in (GenerateJob((chat,), adapter, n=2), GenerateJob((chat,), max_tokens=1)):
            await worker.complete(job)

    asyncio.run(go())
    found = samples(page(collect(worker.meter.registry)))
    for name, adapted, base in (
        ("prompt_tokens_total", 10, 5),
        ("completion_tokens_total", 10, 1),
        ("time_to_first_token_seconds_count", 2, 1),
        ("queue_seconds_count", 2, 1),
        ("bank_hits_total", 2, None),
    ):
        assert found[f"alignery_{name}", ("arithmetic/sft:1",)] == adapted, name
        assert found.get((f"alignery_{name}", ("base",))) == base, name
    assert found["alignery_inter_token_seconds_count", ("arithmetic/sft:1",)] == 8
    assert found["alignery_known_adapters", ()] == 1
    assert found["alignery_rows_unfinished", ()] == 0
