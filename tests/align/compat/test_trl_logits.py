"""Logits only where a loss needs them: the same losses, behind one private name of TRL's."""

import pytest
import torch
import trl.trainer.utils

from align.base import load_base
from align.compat.trl_logits import compact_logits
from align.methods import METHODS
from align.methods.specification import RewardFunction
from align.methods.trainers.trainer_inputs import TrainerInputs
from tests.align.training.short_runs import rows_of, shortness, stage_of

#: Methods whose head TRL fuses with the loss.
FUSED = ("sft", "dpo", "kto", "grpo", "rloo")
REWARDS: list[tuple[str, float, RewardFunction]] = [("shortness", 1.0, shortness)]


def trainer_of(method, tmp_path):
    base, stage = load_base("tiny-random"), stage_of(method, dropout=0.0)
    torch.manual_seed(0)
    arguments = (base.shell(), base.tokenizer, stage, 2, rows_of(method, 4), tmp_path, 0, REWARDS)
    trainer = METHODS[method].trainer(TrainerInputs(*arguments))
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            if "lora_B" in name:  # away from the reference, whose loss is the same for all rows
                parameter += torch.randn_like(parameter) * 0.1
    return trainer


@pytest.mark.parametrize("method", FUSED)
def test_compact_logits_give_the_same_losses_and_gradients(tmp_path, method):
    trainer = trainer_of(method, tmp_path)
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    wide, its_gradient, its_positions = one_pass(trainer, batch)
    with compact_logits():
        compact, gradient, positions = one_pass(trainer, batch)
    assert positions < its_positions, "the name that is patched no longer decides"
    assert compact == pytest.approx(wide, abs=2e-3)
    torch.testing.assert_close(gradient, its_gradient, rtol=0.02, atol=2e-3)


def one_pass(trainer, batch):
    """Loss, gradient of one layer, and how many positions the head projected."""
    projected, fused = [], trl.trainer.utils._ChunkedLogProbFunction

    class Counting:
        @staticmethod
        def apply(hidden, *rest):
            projected.append(len(hidden))
            return fused.apply(hidden, *rest)

    trainer.model.zero_grad()
    # What the trainer sets in its own loop.
    trainer.current_gradient_accumulation_steps = 1
    trl.trainer.utils._ChunkedLogProbFunction = Counting
    try:
        loss = trainer.compute_loss(trainer.model, dict(batch))
    finally:
        trl.trainer.utils._ChunkedLogProbFunction = fused
    loss.backward()
    gradient = next(
        parameter.grad.clone()
        for name, parameter in trainer.model.named_parameters()
        if "q_proj.lora_A" in name
    )
    assert gradient.abs().max() > 0
    return float(loss.detach()), gradient, max(projected)


def test_the_names_that_are_patched_are_there_and_put_back():
    before, head = trl.trainer.utils._use_triton, trl.trainer.utils._ChunkedLogProbFunction
    with compact_logits():
        assert trl.trainer.utils._use_triton(torch.device("cpu"))
        assert trl.trainer.utils._ChunkedLogProbFunction is not head
    assert trl.trainer.utils._use_triton is before
    assert trl.trainer.utils._ChunkedLogProbFunction is head
    assert not before(torch.device("cpu"))


@pytest.mark.parametrize("name", ["_use_triton", "_ChunkedLogProbFunction"])
def test_a_trl_without_such_a_name_is_an_error(monkeypatch, name):
    monkeypatch.delattr(trl.trainer.utils, name)
    with pytest.raises(AttributeError, match=name), compact_logits():
        pass
