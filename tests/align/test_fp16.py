"""A base that overflows fp16 says where, and computes with layers in fp32: here on a CPU."""

import copy
import logging
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from align.adapters.stacked_parent import LinearWithParent, put_beneath
from align.adapters.tensors import LoraFactors, read_factors
from align.base import load_base
from align.errors import ModelError
from align.fp16 import OwnDtypeLinear, first_overflow, hold, lora_in_fp32
from align.inference import GenerationRequest
from align.inference.engine import BankEngine
from align.inference.options import EngineOptions
from align.precision import choose

IDS = [5, 6, 7, 40, 41, 42, 43, 90]
MLP = "model.layers.1.mlp"


@pytest.fixture
def fp16(monkeypatch):
    policy = replace(choose("cpu", None, False), dtype=torch.float16)
    monkeypatch.setattr("align.base.precision", lambda: policy)


def changed(tiny, **factors):
    """A copy of the model whose second layer's weights of these names are multiplied."""
    model = copy.deepcopy(tiny.model)
    with torch.no_grad():
        for name, parameter in model.model.layers[1].named_parameters():
            for leaf, factor in factors.items():
                if leaf in name:
                    parameter *= factor
    return model


@pytest.fixture
def product(tiny):
    """The product within an MLP is beyond 65,504; what leaves the MLP is not."""
    return changed(tiny, gate_proj=400.0, up_proj=400.0, down_proj=1e-5)


@pytest.fixture
def stream(tiny):
    """What an MLP adds to the residual stream is beyond 65,504."""
    return changed(tiny, up_proj=100.0, down_proj=1e4)


def saved(model, tiny, folder):
    model.save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    return str(folder)


def logits(model, ids=IDS):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float()


def near(found, expected):
    assert found.isfinite().all()
    assert float((found - expected).detach().norm() / expected.detach().norm()) < 0.02


@pytest.mark.parametrize("kind", ["product", "stream"])
def test_the_first_module_that_overflows_is_named(request, kind):
    model = request.getfixturevalue(kind)
    assert first_overflow(model, [IDS]) is None, "not in fp32"
    model.half()
    assert first_overflow(model, [IDS[:1], IDS]) == f"{MLP}.down_proj"
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("kind", ["product", "stream"])
def test_a_base_holds_what_overflows_and_says_so(request, tiny, tmp_path, fp16, caplog, kind):
    model = request.getfixturevalue(kind)
    with caplog.at_level(logging.WARNING, "align.fp16"):
        base = load_base.__wrapped__(saved(model, tiny, tmp_path))
    (message,) = [record.getMessage() for record in caplog.records]
    assert f"'{MLP}.down_proj'" in message and "fp32_modules: [layers.1.mlp]" in message
    near(logits(base.model), logits(model))
    dtypes = {name: parameter.dtype for name, parameter in base.model.named_parameters()}
    wide = {name for name, dtype in dtypes.items() if dtype == torch.float32}
    assert wide == {f"{MLP}.{leaf}_proj.weight" for leaf in ("gate", "up", "down")}
    assert base.model.dtype == torch.float16


@pytest.mark.parametrize("kind", ["product", "stream"])
def test_the_engine_computes_with_them_too(request, tiny, tmp_path, fp16, make_adapter, kind):
    model = request.getfixturevalue(kind)
    base = load_base.__wrapped__(saved(model, tiny, tmp_path / "base"))
    engine = BankEngine(base, EngineOptions(slots=4, slot_tokens=64))
    parent = read_factors(make_adapter("a", 1, scale=0.05))
    engine.load("a", parent)
    for adapter in (None, parent):
        shell = copy.deepcopy(model)
        if adapter is not None:
            put_beneath(shell, adapter)
        name = None if adapter is None else "a"
        expected = logits(shell).log_softmax(-1)[torch.arange(len(IDS) - 1), IDS[1:]]
        (read,) = engine.generate([GenerationRequest(IDS, name, 0, prompt_logprobs=1)])
        torch.testing.assert_close(
            torch.tensor(read.prompt_logprobs), expected, rtol=0.02, atol=0.02
        )
        (written,) = engine.generate([GenerationRequest(IDS, name, 4, logprobs=0)])
        assert all(-100 < token.logprob <= 0 for token in written.logprobs)


def test_layers_that_a_recipe_names_are_held_whether_they_overflow_or_not(tiny, fp16, caplog):
    base = load_base.__wrapped__("tiny-random", "layers.0.mlp", "o_proj")
    assert base.model.model.layers[0].mlp.up_proj.weight.dtype == torch.float32
    assert base.model.model.layers[1].mlp.up_proj.weight.dtype == torch.float16
    assert base.model.model.layers[1].self_attn.o_proj.weight.dtype == torch.float32
    near(logits(base.model), logits(tiny.model))
    assert not caplog.records
    assert load_base.__wrapped__("tiny-random").digest == base.digest


def test_a_base_that_fits_is_left_as_it_is(fp16, caplog):
    base = load_base.__wrapped__("tiny-random")
    assert not any(isinstance(module, OwnDtypeLinear) for module in base.model.modules())
    assert not caplog.records


def test_a_base_that_no_layer_in_fp32_helps_is_refused_with_the_place(tiny, tmp_path, fp16):
    model = changed(tiny, q_proj=1e8)
    with pytest.raises(
        ModelError, match=r"overflows fp16.*'model.layers.1.self_attn.q_proj'.*bf16"
    ):
        load_base.__wrapped__(saved(model, tiny, tmp_path))


@pytest.mark.parametrize("pattern", ["q_proj", "lm_head", "layers.7.mlp", "experts"])
def test_a_name_that_fits_nothing_is_refused_on_every_machine(pattern):
    with pytest.raises(ModelError, match=rf"'{pattern}' names no linear.*allowed: down_proj"):
        load_base.__wrapped__("tiny-random", pattern)


@pytest.mark.parametrize("with_parent", [False, True])
@pytest.mark.parametrize("kind", ["product", "stream"])
def test_training_under_autocast_is_finite_with_them(
    request, tiny, make_adapter, kind, with_parent
):
    """LoRA on a layer in fp32 reads its inputs in fp32, too."""
    model = request.getfixturevalue(kind)
    parent = read_factors(make_adapter("a", 1, scale=0.05)) if with_parent else LoraFactors()
    found = []
    for dtype in (torch.float32, torch.float16):
        shell = copy.deepcopy(model).to(dtype).requires_grad_(False)
        if dtype == torch.float16:
            hold(shell, ["layers.1.mlp"])
        put_beneath(shell, parent)
        torch.manual_seed(0)
        trained = get_peft_model(shell, LoraConfig(target_modules="all-linear", r=2))
        for name, parameter in trained.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.01)
        lora_in_fp32(trained)
        with torch.autocast("cpu", dtype, enabled=dtype == torch.float16):
            output = trained(torch.tensor([IDS]), labels=torch.tensor([IDS]))
        output.loss.backward()
        gradients = {n: p.grad for n, p in trained.named_parameters() if p.requires_grad}
        found.append((output, gradients))
    (exact, slopes), (mixed, mixed_slopes) = found
    near(mixed.logits[0].float(), exact.logits[0])
    for name in slopes:
        assert mixed_slopes[name].dtype == torch.float32
        assert mixed_slopes[name].isfinite().all(), name
    assert any("down_proj" in name and slope.abs().max() > 0 for name, slope in slopes.items())


def test_other_loras_are_left_to_autocast(tiny):
    trained = get_peft_model(tiny.shell(), LoraConfig(target_modules="all-linear", r=2))
    lora_in_fp32(trained)
    assert not any("forward" in vars(module) for module in trained.modules())


def test_a_parent_keeps_the_dtype_of_the_layer_it_lies_on(tiny):
    linear = tiny.model.model.layers[0].mlp.up_proj
    factors = torch.ones(2, linear.in_features), torch.ones(linear.out_features, 2)
    held = LinearWithParent(OwnDtypeLinear(linear, torch.float32), *factors)
    plain = LinearWithParent(linear, *factors)
    x = torch.randn(3, linear.in_features).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert held(x).dtype == torch.float32 and plain(x).dtype == torch.bfloat16
    assert torch.equal(held(x), plain(x.float()))


def test_sums_in_fp16_are_not_reduced_in_fp16(monkeypatch):
    flags = torch.backends.cuda.matmul
    was = flags.allow_fp16_reduced_precision_reduction
    try:
        flags.allow_fp16_reduced_precision_reduction = True
        load_base.__wrapped__("tiny-random")
        assert not flags.allow_fp16_reduced_precision_reduction
    finally:
        flags.allow_fp16_reduced_precision_reduction = was
