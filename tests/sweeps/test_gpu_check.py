"""The verdict about workers that share a card."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from align.gpu_check.check import Setting
from align.memory.machines import GIB
from sweeps.gpu_check import SHARE, Sharer, judge, run


def test_workers_that_are_held_to_their_share_pass() -> None:
    outcome = judge([True, True], [False, False], 0)
    assert outcome.verdict == "PASS"
    assert outcome.figures["share"] == 0.5


@pytest.mark.parametrize(
    "within, beyond, cards, said",
    [
        ([True, False], [False, False], 0, "does not get 25% of it"),
        ([True, True], [False, True], 0, "takes 55% of it"),
        ([True, True], [False, False], 1, "gpus=0 sees a card"),
    ],
)
def test_others_fail_with_what_to_do(within, beyond, cards, said) -> None:
    outcome = judge(within, beyond, cards)
    assert outcome.verdict == "FAIL"
    assert said in outcome.sentence and "--max-concurrent" in outcome.sentence


def test_a_worker_is_held_to_its_share_and_tells_what_it_gets(monkeypatch) -> None:
    shares: list[float] = []
    total = 1000
    limit = {"bytes": total}

    def hold(share: float) -> None:
        shares.append(share)
        limit["bytes"] = int(share * total)

    def allocate(size: int, **_: object) -> str:
        if size > limit["bytes"]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "tensor"

    monkeypatch.setattr("align.gpu_process.limit_memory", hold)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=total)
    )
    monkeypatch.setattr(torch, "empty", allocate)
    worker = Sharer()
    assert shares == [SHARE]
    assert [worker.takes(part) for part in (0.35, 0.55, 0.0)] == [True, False, True]


def test_a_card_that_is_in_use_is_not_shared_out(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (5 * GIB, 15 * GIB))
    outcome = run(Setting("tiny-random", "cuda", Path()))
    assert outcome.verdict == "FAIL"
    assert "only 5.0 of 15.0 GiB are free" in outcome.sentence
