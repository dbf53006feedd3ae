"""What a machine computes in: bf16 where it is real, fp16 on a T4, and a T4 on any card."""

import copy

import pytest
import torch

from align import base as bases
from align import precision as policy
from align.base import load_base
from align.errors import ModelError
from align.methods import METHODS
from align.methods.trainers.trainer_inputs import TrainerInputs
from align.precision import (
    apply_forced_card,
    choose,
    forced_card,
    precision,
)
from tests.align.training.short_runs import rows_of, stage_of


def test_a_t4_gets_fp16_and_an_a100_bf16():
    """`torch.cuda.is_bf16_supported()` says True on both."""
    t4, a100 = choose("cuda", (7, 5), False), choose("cuda", (8, 0), False)
    assert t4.args == {"fp16": True, "bf16": False, "use_cpu": False}
    assert a100.args == {"fp16": False, "bf16": True, "use_cpu": False}
    assert (t4.name, a100.name) == ("float16", "bfloat16")


@pytest.mark.parametrize(("bf16", "name"), [(True, "bfloat16"), (False, "float32")])
def test_a_cpu_gets_bf16_only_where_it_computes_it(bf16, name):
    assert choose("cpu", None, bf16).name == name
    assert not choose("cpu", None, bf16).args["fp16"]


def job(method, model, tmp_path):
    base = load_base("tiny-random")
    return TrainerInputs(
        model, base.tokenizer, stage_of(method), 2, rows_of(method, 4), tmp_path, 0
    )


@pytest.mark.parametrize("capability", [(7, 5), (8, 0)])
def test_trainers_are_told_the_precision_and_how_to_checkpoint(tmp_path, monkeypatch, capability):
    monkeypatch.setattr(
        "align.methods.trainers.trainer_inputs.precision", lambda: choose("cuda", capability, False)
    )
    made = job("sft", None, tmp_path).arguments()
    assert made["fp16"] is (capability == (7, 5))
    assert made["bf16"] is (capability == (8, 0))
    assert made["gradient_checkpointing_kwargs"] == {"use_reentrant": False}


@pytest.mark.parametrize("optim", [None, "adamw_torch_fused", "adafactor"])
@pytest.mark.parametrize("capability", [(7, 5), (8, 0)])
def test_under_fp16_no_optimizer_skips_a_step_unseen(tmp_path, monkeypatch, capability, optim):
    monkeypatch.setattr(
        "align.methods.trainers.trainer_inputs.precision", lambda: choose("cuda", capability, False)
    )
    inputs = job("sft", None, tmp_path)
    if optim is not None:
        inputs.stage = stage_of("sft", optim=optim)
    made = inputs.arguments().get("optim")
    hidden = capability == (7, 5) and optim != "adafactor"
    assert made == ("adamw_torch" if hidden else optim)


@pytest.mark.parametrize("method", ["sft", "reward"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_is_trained_is_fp32_on_a_half_precision_base(tmp_path, monkeypatch, method, dtype):
    """GradScaler refuses fp16 gradients, and half precision loses small updates."""
    monkeypatch.setattr(
        "align.methods.trainers.trainer_inputs.precision", lambda: choose("cpu", None, False)
    )
    shell = copy.deepcopy(load_base("tiny-random").model).to(dtype)
    model = METHODS[method].trainer(job(method, shell, tmp_path)).model
    trained = {name: one.dtype for name, one in model.named_parameters() if one.requires_grad}
    assert set(trained.values()) == {torch.float32}
    assert any("score" in name for name in trained) is (method == "reward")
    frozen = {one.dtype for name, one in model.named_parameters() if "embed_tokens" in name}
    assert frozen == {dtype}


class Asked:
    """What was asked of torch's CUDA in place of a card."""

    def __init__(self, monkeypatch, total):
        self.calls = {}
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda: 1.0)
        properties = type("Properties", (), {"total_memory": total})
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
        for module, name in (
            (torch.cuda, "set_per_process_memory_fraction"),
            (torch.backends.cuda, "enable_flash_sdp"),
            (torch.backends.cuda, "enable_cudnn_sdp"),
        ):
            monkeypatch.setattr(
                module, name, lambda value, name=name: self.calls.update({name: value})
            )


def test_a_forced_t4_is_fp16_with_14_gib_for_tensors_and_plain_attention(monkeypatch):
    asked = Asked(monkeypatch, total=60 * 2**30)
    monkeypatch.setenv("ALIGNERY_GPU", "T4")
    assert precision().args == {"fp16": True, "bf16": False, "use_cpu": False}
    apply_forced_card()
    fraction = asked.calls.pop("set_per_process_memory_fraction")
    assert fraction * 60 == pytest.approx(14.06, abs=0.005)
    assert asked.calls == {
        "enable_flash_sdp": False,
        "enable_cudnn_sdp": False,
    }


def test_without_the_variable_a_card_is_left_as_it_is(monkeypatch):
    asked = Asked(monkeypatch, total=60 * 2**30)
    monkeypatch.delenv("ALIGNERY_GPU", raising=False)
    apply_forced_card()
    assert asked.calls == {}


@pytest.mark.parametrize("name", [None, ""])
def test_no_card_is_forced_where_none_is_named(name):
    assert forced_card(name, cuda=False) is None


def test_an_unknown_card_is_an_error_that_lists_the_known():
    with pytest.raises(ModelError, match=r"ALIGNERY_GPU=T5: unknown card; allowed: T4"):
        forced_card("T5", cuda=True)


def test_a_forced_card_needs_cuda_and_a_base_says_so_as_it_loads(monkeypatch):
    monkeypatch.setenv("ALIGNERY_GPU", "T4")
    monkeypatch.setattr(policy.torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="no CUDA card here"):
        bases.load_base.__wrapped__("tiny-random")
