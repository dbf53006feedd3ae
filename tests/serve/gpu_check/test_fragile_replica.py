"""Which message fails a card, and that all others are answered as usual."""

import pytest
import torch

from align.gpu_errors import lost_gpu
from serve.app import EngineReplica
from serve.batching.jobs import AdapterRef, GenerateJob, ScoreJob
from serve.gpu_check.fragile_replica import FATAL, FragileReplica, fail_card, is_fatal


def test_only_the_message_itself_fails_the_card() -> None:
    chat = ({"role": "user", "content": FATAL},)
    assert is_fatal(GenerateJob((chat,)))
    assert not is_fatal(GenerateJob((({"role": "user", "content": f"{FATAL}!"},),)))
    assert not is_fatal(GenerateJob((FATAL,)))
    assert not is_fatal(ScoreJob((chat,), AdapterRef("id", "line:1")))


def test_the_error_is_that_of_a_card_which_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a card the error would be real, and the card lost to all later tests of this process.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(torch.AcceleratorError) as raised:
        fail_card()
    assert lost_gpu(raised.value) is not None


def test_it_is_a_replica_in_all_else() -> None:
    own, usual = FragileReplica.func_or_class, EngineReplica.func_or_class
    assert issubclass(own, usual)
    assert {name for name in vars(own) if not name.startswith("__")} == {"process", "stream"}
