"""Steps of all methods on a parent, on tensors that claim to be on a card.

Whatever mixes devices in a forward pass, a backward pass, the optimizer or the rollouts raises, and
the losses are those of the CPU.
"""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from transformers import TrainingArguments

from align.adapters.stacked_parent import put_beneath
from align.adapters.tensors import read_factors
from align.compat.equal_heads import equal_heads
from align.compat.torch_attention import short_attention
from align.compat.trl_logits import compact_logits
from align.inference.engine import BankEngine
from align.inference.options import EngineOptions
from align.methods import METHODS
from align.methods.trainers.rollouts import Rollouts
from align.methods.trainers.trainer_inputs import TrainerInputs
from align.precision import choose
from align.training.logging_utils import quiet
from tests.align.training.short_runs import rows_of, shortness, stage_of
from tests.card import DEVICE, Card, on_card

OPTIONS = EngineOptions(slots=8, slot_tokens=512, adapters=2, cuda_graphs=False)


@pytest.fixture(autouse=True)
def fp32(monkeypatch):
    monkeypatch.setattr(
        "align.methods.trainers.trainer_inputs.precision", lambda: choose("cpu", None, False)
    )


@contextmanager
def on_a_card(monkeypatch):
    """Libraries that look for a card see one."""
    own = TrainingArguments.device.fget
    with monkeypatch.context() as patch, Card(cpu_indices=True) as card:
        # Looking at the device also sets up what the arguments know of processes.
        patch.setattr(TrainingArguments, "device", property(lambda self: own(self) and DEVICE))
        patch.setattr(Accelerator, "device", property(lambda _: DEVICE))
        patch.setattr(torch.cuda, "get_device_name", lambda _: "T4")  # for telemetry
        patch.setattr("trl.kernels.chunked_logprob._TRITON_AVAILABLE", False)
        yield card


@contextmanager
def new_weights():
    """Weights that PEFT makes on the CPU and moves to the card become other objects."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


def losses(base, method, parent, folder):
    """The loss of each of two steps on the parent."""
    model, factors = base.shell(), read_factors(parent)
    put_beneath(model, factors)
    online = METHODS[method].online
    rollouts = Rollouts(BankEngine(base, OPTIONS), factors) if online else None
    stage, rows = stage_of(method, dropout=0.0), rows_of(method, 8)
    rewards = [("shortness", 1.0, shortness)]
    with new_weights():
        trainer = METHODS[method].trainer(
            TrainerInputs(model, base.tokenizer, stage, 2, rows, folder, 0, rewards, rollouts)
        )
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            if "lora_B" in name:
                parameter += (torch.randn(parameter.shape) * 0.1).to(parameter.device)
    with quiet(), compact_logits(), equal_heads(True), short_attention():  # a T4's attention
        trainer.train()
    return [step["loss"] for step in trainer.state.log_history if "loss" in step]


@pytest.mark.parametrize("method", METHODS)
def test_steps_on_a_card_mix_no_devices_and_learn_the_same(
    tiny, make_adapter, tmp_path, monkeypatch, method
):
    parent = make_adapter("parent", 1, r=3, target_modules=["q_proj", "down_proj"])
    with on_a_card(monkeypatch):
        base = replace(tiny, model=on_card(tiny.model))
        ours = losses(base, method, parent, tmp_path / "card")
    theirs = losses(tiny, method, parent, tmp_path / "cpu")
    assert len(ours) == 2
    assert ours == pytest.approx(theirs, abs=1e-4)
