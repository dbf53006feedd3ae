"""A checkpoint of a run in fp16 can be resumed where there is no scaler of the loss."""

import pytest
import torch
from transformers import Trainer

from align.base import load_base
from align.training import attempt
from align.training.checkpoints import STATE, newest_checkpoint
from tests.align.training.short_runs import run


def test_a_run_that_began_in_fp16_goes_on_without(tmp_path, monkeypatch):
    base = load_base("tiny-random")
    run(base, "sft", tmp_path, to=1, steps=2)
    _, checkpoint = newest_checkpoint(tmp_path)
    torch.save(torch.amp.GradScaler("cpu").state_dict(), checkpoint / STATE / "scaler.pt")
    with monkeypatch.context() as patched:
        patched.setattr(attempt, "ignore_missing_scaler", lambda trainer: None)
        with pytest.raises(AttributeError):  # else this module is not needed any more
            run(base, "sft", tmp_path, to=2, steps=2)
    losses, _ = run(base, "sft", tmp_path, to=2, steps=2)
    assert 2 in losses
    assert callable(Trainer._load_scaler)
