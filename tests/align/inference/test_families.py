"""Every family on a tiny random model: the bank computes what plain PEFT computes."""

from typing import Any

import pytest
import torch

from align.errors import ModelError
from align.inference import EngineOptions, GenerationRequest
from align.inference.engine import BankEngine
from align.inference.kernels.build import compiled
from align.inference.kernels.plain import PlainOps
from align.inference.modeling import model as forward
from align.inference.modeling.model import Model, Reading, Writing
from tests.align.inference.tiny_families import (
    assorted,
    greedy,
    in_dtype,
    random_base,
    random_tokens,
)

#: Largest difference of a logit, as a share of the largest logit: fp32 sums in another order.
TIGHT = 1e-4
WINDOW = {"sliding_window": 6}
FUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-tied": ("llama", {"tie_word_embeddings": True}),
    "llama-biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-heads-of-64-alone": ("llama", {"head_dim": 64, "num_key_value_heads": 4}),
    "llama-heads-of-128": ("llama", {"head_dim": 128, "num_key_value_heads": 1}),
    "llama-seven-in-a-group": (
        "llama",
        {"hidden_size": 56, "num_attention_heads": 7, "num_key_value_heads": 1, "head_dim": 32},
    ),
    "llama-five-in-a-group": (
        "llama",
        {"hidden_size": 60, "num_attention_heads": 10, "num_key_value_heads": 2, "head_dim": 16},
    ),
    "llama-uneven-widths": (
        "llama",
        {"hidden_size": 42, "intermediate_size": 50, "num_attention_heads": 3, "head_dim": 14}
        | {"num_key_value_heads": 1},
    ),
    "llama-heads-of-24": ("llama", {"head_dim": 24}),
    "llama-heads-of-272": ("llama", {"head_dim": 272}),
    "llama-scaled-rotation": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    "llama-other-activation": ("llama", {"hidden_act": "gelu"}),
    "mistral-window": ("mistral", WINDOW),
    "mistral-no-window": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen2-tied-window-in-one-layer": (
        "qwen2",
        {**WINDOW, "use_sliding_window": True, "max_window_layers": 1, "tie_word_embeddings": True},
    ),
    "qwen2-window-switched-off": ("qwen2", {**WINDOW, "use_sliding_window": False}),
    "qwen3": ("qwen3", {"head_dim": 48, "tie_word_embeddings": True}),
    "qwen3-window-in-one-layer": (
        "qwen3",
        {**WINDOW, "use_sliding_window": True, "max_window_layers": 1, "head_dim": 32}
        | {"attention_bias": True},
    ),
}
OTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma": ("gemma", {"head_dim": 16}),
    "gemma3": ("gemma3_text", {**WINDOW, "head_dim": 16, "sliding_window_pattern": 2}),
    "olmo2": ("olmo2", {}),
    "phi3": ("phi3", WINDOW),
    "granite": (
        "granite",
        {"logits_scaling": 4.0, "attention_multiplier": 0.3, "residual_multiplier": 0.5},
    ),
    "cohere": ("cohere", {"logit_scale": 0.25}),
    "smollm3": ("smollm3", {"no_rope_layers": [1, 0]}),
}
FAMILIES = {**FUSED, **OTHER}
PATHS = ["native", "torch", "few-launches"]


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    if request.param != "native":
        ops = PlainOps(few_launches=request.param == "few-launches")  # as on a GPU
        monkeypatch.setattr(forward, "choose_ops", lambda *_: ops)
    elif compiled(torch.float32) is None:
        pytest.skip("no C compiler")
    return request.param


def mixed_logits(base, adapters, tokens):
    """Logits (rows, tokens, vocabulary) of sequences that are read in pieces, together, each with
    an adapter of its own (the first with none), the last three tokens fed as if written."""
    model = Model(base, len(tokens), 64, len(adapters) + 1, 16)
    for slot, saved in enumerate(adapters):
        model.bank.put(slot, model.bank.prepare(saved.factors, "test"))
    logits: list[list[torch.Tensor]] = [[] for _ in tokens]
    ends = [len(row) - 3 for row in tokens]
    with torch.inference_mode():
        for start, stop in ((0, 5), (5, 64)):
            runs = [
                Reading(row[start : min(stop, end)], at, start, at - 1)
                for at, (row, end) in enumerate(zip(tokens, ends, strict=True))
                if start < end
            ]
            done = model.logits(model.read(runs)).split([len(one.tokens) for one in runs])
            for run, part in zip(runs, done, strict=True):
                logits[run.slot].append(part)
        for step in range(3):
            rows = [
                Writing(row[end + step], at, end + step, at - 1)
                for at, (row, end) in enumerate(zip(tokens, ends, strict=True))
            ]
            for at, row in enumerate(model.write(rows)):
                logits[at].append(row[None])
    return [torch.cat(one).float() for one in logits]


def peft_logits(base, adapters, tokens):
    models = [base.model, *(saved.on(base) for saved in adapters)]
    with torch.no_grad():
        return [
            model(torch.tensor([row]), use_cache=False).logits[0].float()
            for model, row in zip(models, tokens, strict=True)
        ]


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_of_a_mixed_batch_are_those_of_plain_peft(name, path, tmp_path):
    family, shape = FAMILIES[name]
    base = random_base(family, **shape)
    adapters = list(assorted(base, tmp_path).values())
    tokens = [random_tokens(row, count) for row, count in enumerate((21, 7, 30, 16))]
    want = peft_logits(base, adapters, tokens)
    got = mixed_logits(base, adapters, tokens)
    for ours, theirs in zip(got, want, strict=True):
        assert float((ours - theirs).abs().max()) < TIGHT * float(theirs.abs().max())
    with torch.no_grad():
        bare = base.model(torch.tensor([tokens[1]])).logits[0]
    assert (want[1] - bare).abs().max() > 0.02 * bare.abs().max()  # the adapters do something


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("name", ["llama", "mistral-window", "qwen2", "qwen3", "gemma", "granite"])
def test_half_precision_is_as_near_to_fp32_as_plain_peft_is(name, dtype, path, tmp_path):
    """The engine's root mean square error against fp32 is at most 1.25 times PEFT's own."""
    if path == "native" and compiled(dtype) is None:
        pytest.skip("nothing compiled for this dtype")
    family, shape = FAMILIES[name]
    wide = random_base(family, **shape)
    adapters = list(assorted(wide, tmp_path).values())
    tokens = [random_tokens(row, count) for row, count in enumerate((21, 7, 30, 16))]
    exact = torch.cat(peft_logits(wide, adapters, tokens))
    base = in_dtype(wide, dtype)
    theirs = (torch.cat(peft_logits(base, adapters, tokens)) - exact).square().mean().sqrt()
    ours = (torch.cat(mixed_logits(base, adapters, tokens)) - exact).square().mean().sqrt()
    print(f"{name} {dtype} {path}: rms error {ours:.2e}, PEFT's {theirs:.2e}")
    assert float(ours) < 1.25 * float(theirs)


@pytest.mark.parametrize("reuse", [True, False], ids=["reuse", "fresh"])
@pytest.mark.parametrize(
    "name",
    ["llama", "mistral-window", "qwen2-tied-window-in-one-layer", "qwen3", "olmo2", "phi3"],
)
def test_greedy_text_is_that_of_generate(name, reuse, path, tiny, tmp_path):
    family, shape = FAMILIES[name]
    base = random_base(family, tiny.tokenizer, **shape)
    adapters = assorted(base, tmp_path)
    options = EngineOptions(slots=6, slot_tokens=64, adapters=2, chunk_tokens=8, reuse=reuse)
    engine = BankEngine(base, options)
    for adapter, saved in adapters.items():
        engine.load(adapter, saved.folder)
    common = random_tokens(9, 18)
    prompts = [[*common, 7], [*common, 8, 9, 10], random_tokens(1, 3), random_tokens(2, 30)]
    cases = [(prompt, adapter) for prompt in prompts for adapter in (None, *adapters)]
    done = engine.generate([GenerationRequest(p, a, max_new_tokens=11) for p, a in cases])
    models = {None: base.model, **{name: saved.on(base) for name, saved in adapters.items()}}
    for (prompt, adapter), completion in zip(cases, done, strict=True):
        assert completion.token_ids == greedy(models[adapter], prompt, 11), (adapter, prompt)
    assert any(one.cached_tokens for one in done) is reuse


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("gemma2", {"head_dim": 16}),  # soft-capped attention and logits
        ("gpt2", {}),  # learned positions, another tree
        ("gpt_neox", {}),
        ("gpt_oss", {"num_local_experts": 4, "num_experts_per_tok": 2}),  # attention sinks
        ("mamba", {}),
        ("nanochat", {}),  # soft-capped logits
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_family_that_would_be_wrong_is_refused(family, shape, tiny):
    base = random_base(family, tiny.tokenizer, **shape)
    with pytest.raises(ModelError, match=family):
        BankEngine(base, EngineOptions(slots=2, slot_tokens=32, adapters=1))


def test_slots_end_where_rotation_would_depend_on_the_longest(tiny):
    rotation = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 8,
        "long_factor": [4.0] * 8,
        "original_max_position_embeddings": 48,
    }
    shape = {"rope_parameters": rotation, "original_max_position_embeddings": 48}
    base = random_base("phi3", tiny.tokenizer, **shape)
    engine = BankEngine(base, EngineOptions(slots=2, adapters=1))
    assert engine.context_length == 48
    prompt = random_tokens(3, 30)
    done = engine.generate([GenerationRequest(prompt, max_new_tokens=18)])[0]
    assert done.token_ids == greedy(base.model, prompt, 18)
