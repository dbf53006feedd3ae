"""What does not fit is refused by name, before a value is read where that is possible."""

import math
import time

import pytest
import torch

from align.adapters.foreign import locate, read_foreign
from align.errors import AdapterError
from tests.align.adapters.foreign.hand_made import BASE, UP, WEIGHTS, Q, lora, write

P = "base_model.model."
HEAD = f"{P}score.weight"
ADA = {"peft_type": "ADALORA"}
LM = f"{P}lm_head.weight"


def read(folder, max_rank=8):
    return read_foreign(locate(folder), BASE, max_rank)


def test_scaling_is_folded_in_and_an_update_of_zero_is_named(tmp_path):
    zero = lora(UP, out=8)
    zero[f"{P}{UP}.lora_B.weight"] *= 0
    adapter = read(write(tmp_path, {**lora(), **zero}, target_modules="all-linear"))
    a, b = adapter.factors.modules[Q]
    assert torch.equal(b @ a, torch.full((4, 6), 4.0))  # rank 2 of ones, alpha / r = 2
    assert set(adapter.factors.modules) == {Q}
    assert adapter.notes == (f"no effect on 1 modules, whose update is zero: {UP}",)


def test_wrappers_without_end_take_no_time(tmp_path):
    folder = write(tmp_path, {"module." * 500_000 + "x": torch.ones(1)})
    started = time.perf_counter()
    with pytest.raises(AdapterError, match="no tensors of an adapter"):
        read(folder)
    assert time.perf_counter() - started < 20


def test_shared_projections_are_not_larger_than_the_base_needs(tmp_path):
    tensors = {
        f"{P}{Q}.vera_lambda_b": torch.ones(4),
        f"{P}{Q}.vera_lambda_d": torch.ones(2),
        "base_model.vera_A": torch.ones(2, 6),
    }
    vera = {"peft_type": "VERA"}
    folder = write(tmp_path / "a", {**tensors, "base_model.vera_B": torch.ones(8, 2)}, **vera)
    assert read(folder).factors.rank == 2
    folder = write(tmp_path / "b", {**tensors, "base_model.vera_B": torch.ones(9, 2)}, **vera)
    with pytest.raises(AdapterError, match=r"vera_B is \[9, 2\], longer than any layer"):
        read(folder)


@pytest.mark.parametrize(
    ("tensors", "entries", "words"),
    [
        ({}, {}, "holds no tensors"),
        ({**lora(), "stray": torch.ones(1)}, {}, "stray: no tensors of an adapter"),
        ({**lora(), "x" * 5000: torch.ones(1)}, {}, "x…: no tensors of an adapter"),
        ({f"{P}{Q}.lora_A.weight": torch.ones(2, 6)}, {}, r"no lora_B beside lora_A"),
        (
            lora(width=7),
            {},
            f"1 of 1 modules do not fit base 'ours': '{Q}' is 4x7, the base's is 4x6",
        ),
        ({**lora(out=5), **lora(UP)}, {}, "2 of 2 modules do not fit"),
        (lora("model.layers.9.self_attn.q_proj"), {}, "no linear layer of this base's decoder"),
        (lora("model.embed_tokens"), {}, "the embedding, which all adapters share"),
        (lora(rank=3), {}, "has rank 3, and adapter_config.json says 2"),
        (lora(rank=9), {"r": 9}, "has rank 9 as a LoRA, and the bank holds 8"),
        ({key: torch.ones(2, 1) for key in lora()}, {}, "do not go together"),
        ({key: value.flatten() for key, value in lora().items()}, {}, "do not go together"),
        ({key: value.int() for key, value in lora().items()}, {}, "is I32; allowed: F16"),
        ({key: value * math.nan for key, value in lora().items()}, {}, "NaN or infinite"),
        ({key: value * math.inf for key, value in lora().items()}, {}, "NaN or infinite"),
        ({key: value * 0 for key, value in lora().items()}, {}, "it changes nothing"),
        ({key: value * 1e20 for key, value in lora().items()}, {"lora_alpha": 1e25}, "overflows"),
        ({**lora(), f"{P}{Q}.lora_E": torch.ones(2, 6)}, ADA, "do not go together"),
        ({k: torch.ones(()) for k in [*lora(), f"{P}{Q}.lora_E"]}, ADA, "do not go together"),
        ({**lora(), f"{P}{Q}.lora_E": torch.ones(2, 1)}, {}, "lora_E: no part of a LORA adapter"),
        (
            {**lora(), f"{P}{P}{Q}.lora_A.weight": torch.ones(2, 6)},
            {},
            "are the same tensor of the same module",
        ),
        (
            {
                f"{P}{Q}.lora_A.first.weight": torch.ones(2, 6),
                f"{P}{Q}.lora_B.second.weight": torch.ones(4, 2),
            },
            {},
            "several adapters in one file: first, second",
        ),
        ({**lora(), "base_model.vera_A": torch.ones(2, 6)}, {}, "belong to no module"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, tensors, entries, words):
    folder = write(tmp_path, tensors, **entries)
    with pytest.raises(AdapterError, match=words) as refusal:
        read(folder)
    assert str(tmp_path) in str(refusal.value) and "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 800


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"peft_type": None}, "no peft_type"),
        ({"peft_type": "SOMETHING"}, "SOMETHING: no kind of adapter that is known here"),
        ({"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING: it learns vectors before the prompt"),
        ({"task_type": "SEQ_2_SEQ_LM"}, "SEQ_2_SEQ_LM.*CAUSAL_LM and SEQ_CLS"),
        ({"use_dora": True}, "use_dora: its effect is not a sum"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"init_lora_weights": "pissa_niter_16"}, "pissa_niter_16"),
        ({"init_lora_weights": "loftq"}, "loftq"),
        ({"use_something_new": True}, "sets use_something_new, which is not known here"),
        ({"r": 0}, "r=0: expected a whole number from 1 on"),
        ({"r": "8"}, "r=8: expected a whole number"),
        ({"r": True}, "r=True"),
        ({"lora_alpha": math.nan}, "lora_alpha=nan: expected a number"),
        ({"lora_alpha": [1]}, "expected a number"),
        ({"lora_alpha": 10**400}, "expected a number"),
        ({"r": 10**400}, "expected a whole number"),
        ({"target_modules": False}, "expected a pattern or a list of names"),
        ({"rank_pattern": {"(": 3}}, "is no regular expression"),
        ({"rank_pattern": {"q_proj": 2.5}}, "expected a whole number"),
        ({"target_modules": "("}, "target_modules: '\\(' is no regular expression"),
        ({"target_modules": {"q": 1}}, "expected a pattern or a list of names"),
        ({"target_modules": ["v_proj"]}, f"leaves out 1 modules .* PEFT would ignore those: {Q}"),
        ({"task_type": "SEQ_CLS"}, "SEQ_CLS, and no head in its file"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save names lm_head, and the file has no"),
        ({"modules_to_save": {"a": 1}}, "modules_to_save: expected a pattern or a list"),
        ({"layers_to_transform": "all"}, "expected layer numbers"),
        ({"layers_to_transform": [3]}, "PEFT would ignore"),
        ({"exclude_modules": ["q_proj"]}, "PEFT would ignore"),
        ({"alpha_pattern": [1]}, "alpha_pattern: expected an object"),
    ],
)
def test_a_config_that_cannot_be_held_is_refused(tmp_path, entries, words):
    with pytest.raises(AdapterError, match=words) as refusal:
        read(write(tmp_path, **entries))
    assert str(tmp_path) in str(refusal.value)


def test_options_without_effect_on_the_sum_are_taken(tmp_path):
    folder = write(tmp_path, use_something_off=False, lora_dropout=0.3, modules_to_save=["score"])
    assert read(folder).conversion == "held as it is"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (HEAD, torch.ones(3, 6), "classifiers with several labels"),
        (HEAD, torch.ones(1, 7), r"a reward head of this base is \[1, 6\]"),
        (LM, torch.zeros(5, 6), "'lm_head' was trained as a whole"),
        (LM, torch.zeros(7, 6), "the base has 5 tokens: the vocabulary was changed"),
        (f"{P}model.norm.weight", torch.zeros(6), "'model.norm' was trained as a whole"),
        (f"{P}other.weight", torch.zeros(6), "the base has no 'other'"),
        (f"{P}{Q}.lora_B.bias", torch.zeros(4), "no tensor of an adapter"),
    ],
)
def test_whole_modules_but_a_reward_head_are_refused(tmp_path, key, value, words):
    with pytest.raises(AdapterError, match=words):
        read(write(tmp_path, {**lora(), key: value}))


@pytest.mark.parametrize("kind", ["", "base_layer.", "modules_to_save.default."])
def test_a_copy_of_the_bases_own_weights_is_left_out_and_said(tmp_path, kind):
    key = f"{P}lm_head.{kind}weight"
    adapter = read(write(tmp_path, {**lora(), key: WEIGHTS["lm_head.weight"]}))
    assert adapter.notes == ("lm_head was saved with it and is the base's own, so it is left out",)


@pytest.mark.parametrize("key", [HEAD, f"{P}classifier.modules_to_save.default.weight"])
def test_a_reward_head_is_read(tmp_path, key):
    adapter = read(write(tmp_path, {**lora(), key: torch.full((1, 6), 3.0)}, task_type="SEQ_CLS"))
    assert adapter.factors.score is not None and adapter.factors.score.tolist() == [[3.0] * 6]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        (1 << 60).to_bytes(8, "little") + b"{}",
        (200).to_bytes(8, "little") + b'{"a": {"dtype": "F32", "shape": [9, 9], "data_offsets": [0',
        (70).to_bytes(8, "little")
        + b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4000000000]}}',
        (8).to_bytes(8, "little") + b"\xff" * 8,
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, content):
    folder = write(tmp_path)
    (folder / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(AdapterError, match="no readable safetensors file"):
        read(folder)


def test_targets_without_tensors_are_said(tmp_path):
    adapter = read(write(tmp_path, target_modules="all-linear"))
    assert adapter.notes == (f"no tensors for 1 modules of its target_modules: {UP}",)
