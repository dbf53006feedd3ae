"""The arithmetic of memory: known sizes, what grows with what, and what is proposed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from align.base import load_base
from align.compat import lm_head, torch_attention
from align.errors import ModelError, RequestError
from align.inference.options import EngineOptions
from align.memory.activations import (
    CPU_TOKENS,
    CPU_WEIGHTS,
    activations,
    loss_gradient,
    saved_by_layer,
)
from align.memory.engine import bank_bytes, kv_bytes
from align.memory.fit import fit_stages, propose
from align.memory.machines import GIB, GPUS, Machine, gpu
from align.memory.peak import predict
from align.memory.shape import ModelShape, read_shape, shape_of
from align.memory.workload import LoraSize, Workload, workload
from align.recipe import StageConfig, parse_recipe
from align.sources import SMOLLM2, TINY
from tests.align.shapes import QWEN

T4 = GPUS["T4"]
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]


def small() -> ModelShape:
    """One layer: 2 heads of 4, 1 of them for keys; 8 wide, 16 in the MLP, 32 tokens."""
    return ModelShape(8, 16, 1, 2, 1, 4, 32, 64, True, False)


def work(**changes: Any) -> Workload:
    """One SFT row of ten tokens, four of them scored, rank 2 on the queries, no dropout."""
    plain = Workload(
        method="sft",
        rows=1,
        steps=4,
        length=10,
        scored=4,
        lora=LoraSize(2, frozenset({"q_proj"})),
        dropout=False,
        checkpointing=False,
        padded=False,
        whole=4,
    )
    return replace(plain, **changes)


def stage(**fields: Any) -> StageConfig:
    plain = {"method": "sft", "learning_rate": 1e-4, "max_steps": 4, "objective": "nll"}
    return StageConfig.model_validate({**plain, **fields}).resolve()


def recipe(**stages: Any) -> Any:
    data = {"task": "arithmetic", "train": 64, "validation": 8, "test": 8}
    return parse_recipe({"name": "r", "base": TINY, "data": data, "stages": stages})


def test_weights_are_counted_as_the_published_models_have_them() -> None:
    assert shape_of(QWEN, "qwen").parameters == 494_032_768
    assert read_shape(SMOLLM2).parameters == 134_515_008


def test_the_built_in_shapes_are_those_of_the_files() -> None:
    config = load_base(TINY).model.config
    assert read_shape(TINY) == shape_of(config.to_dict(), TINY)
    assert read_shape(TINY).parameters == sum(p.numel() for p in load_base(TINY).model.parameters())


def test_an_adapter_is_counted_by_its_targets() -> None:
    shape = shape_of(QWEN, "qwen")
    attention = shape.targets(ATTENTION)
    assert shape.lora_parameters(8, attention) == 1_081_344  # what PEFT prints for the tutorial
    assert shape.targets("all-linear") == frozenset(shape.linears)
    assert shape.targets(r".*\.(gate|up)_proj") == {"gate_proj", "up_proj"}
    assert shape.targets(["proj"]) == frozenset()  # PEFT wants whole names


def test_what_a_layer_saves_by_hand() -> None:
    tokens, fp16 = 10, 2
    norms = 2 * 4 * (8 + 1)
    attention = fp16 * (8 + 8 + 4 + 4) + 4 * 2  # queries, output, keys, values; logsumexp
    mlp = fp16 * 3 * 16
    queries = fp16 * (8 + 2)  # LoRA's input and what lies between A and B
    assert saved_by_layer(work(), small(), T4) == tokens * (norms + attention + mlp + queries)
    padded = fp16 * (2 * 4 + 10)  # keys and values repeated for each head, and a row of the mask
    dropout = 8
    assert saved_by_layer(work(padded=True, dropout=True), small(), T4) == tokens * (
        norms + attention + mlp + queries + padded + dropout
    )


def test_the_loss_is_a_tile_on_a_gpu_and_a_block_of_tokens_on_a_cpu() -> None:
    shape = shape_of(QWEN, "qwen")
    tile, gradient = 100 * 32768 * 2, 100 * 896 * 4
    assert loss_gradient(100, shape, T4) == tile + gradient
    assert loss_gradient(0, shape, T4) == 0
    cpu = Machine("cpu", 0, "bfloat16", "cpu")
    kept = 896 * 2
    assert loss_gradient(10, shape, cpu) == 10 * kept + 10 * 151_936 * 8
    assert loss_gradient(100, shape, cpu) == 100 * kept + 64 * 151_936 * 8
    assert loss_gradient(100_000, shape, cpu) == 100_000 * (kept + 896 * 6)
    assert loss_gradient(0, shape, cpu) == 0


def test_what_is_counted_on_a_cpu_is_what_training_does_there() -> None:
    assert lm_head.BLOCK == CPU_TOKENS
    assert torch_attention.MOST == CPU_WEIGHTS


def test_short_rows_on_a_cpu_save_less_of_attention() -> None:
    cpu = Machine("cpu", 0, "bfloat16", "cpu")
    short, long = work(padded=True), work(padded=True, length=1000)
    saved = saved_by_layer(short, small(), T4) - saved_by_layer(short, small(), cpu)
    assert saved == 10 * (2 * 8 + 4 * 2 + 2 * 10)  # output, logsumexp, a row of the mask
    assert saved_by_layer(long, small(), T4) == saved_by_layer(long, small(), cpu)


def test_static_parts_by_hand() -> None:
    shape = shape_of(QWEN, "qwen")
    lora = LoraSize(8, shape.targets(ATTENTION))
    peak = predict(work(lora=lora, beneath=(lora, lora)), shape, T4, None)
    assert peak.weights == 2 * 494_032_768
    assert peak.parent == 2 * 2 * 1_081_344
    assert peak.adapter == 16 * 1_081_344
    assert peak.engine == 0
    assert peak.total - peak.overhead == peak.tensors
    assert peak.overhead > GIB // 2
    reward = predict(work(method="reward", scored=0, lora=lora), shape, T4, None)
    assert reward.adapter == 16 * (1_081_344 + 2 * 896)
    assert reward.logits == 0


def test_the_engine_takes_its_budget_and_a_bank_as_tall_as_the_tallest() -> None:
    shape = shape_of(QWEN, "qwen")
    options = EngineOptions()
    assert kv_bytes(shape, T4, options) == pytest.approx(4 * GIB * 65 / 64, rel=1e-3)
    lora = LoraSize(8, shape.targets(["q_proj"]))
    one = bank_bytes(work(lora=lora), shape, T4, options)
    fused = (896 + 896) + 2 * (896 + 128)  # keys and values grow with the queries
    assert one == 16 * 8 * 24 * fused * 2
    assert bank_bytes(work(lora=lora, beneath=(lora,)), shape, T4, options) == 2 * one
    judged = work(lora=lora, judge=(LoraSize(20, lora.targets), LoraSize(8, lora.targets)))
    assert bank_bytes(judged, shape, T4, options) == 4 * one  # 28, and room is taken by doubling


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    "larger",
    [{"rows": 2}, {"length": 20}, {"lora": LoraSize(4, frozenset({"q_proj"}))}, {"scored": 8},
     {"lora": LoraSize(2, frozenset({"q_proj", "up_proj"}))}, {"padded": True},
     {"beneath": (LoraSize(2, frozenset({"q_proj"})),)}],
)  # fmt: skip
@pytest.mark.parametrize("machine", [T4, Machine("cpu", 0, "float32", "cpu")])
def test_more_of_anything_needs_more(
    larger: dict[str, Any], machine: Machine, checkpointing: bool
) -> None:
    shape = shape_of(QWEN, "qwen")
    plain = work(checkpointing=checkpointing, length=500, scored=400)
    if "length" in larger or "scored" in larger:
        larger = {name: value * 50 for name, value in larger.items()}
    before = predict(plain, shape, machine).tensors
    assert predict(replace(plain, **larger), shape, machine).tensors >= before
    if "scored" not in larger and "padded" not in larger:
        assert predict(replace(plain, **larger), shape, machine).tensors > before


def test_checkpointing_needs_less_and_dropout_more() -> None:
    shape = shape_of(QWEN, "qwen")
    plain = work(lora=LoraSize(8, frozenset(shape.linears)), length=700, rows=4)
    held = activations(plain, shape, T4).total
    assert activations(replace(plain, checkpointing=True), shape, T4).total < held / 8
    assert activations(replace(plain, dropout=True), shape, T4).total > held


def test_a_stage_is_read_as_trl_runs_it() -> None:
    shape = read_shape(TINY)
    lora = {"lora_dropout": 0.05, "r": 4}
    sft = workload(stage(per_device_train_batch_size=2, max_length=64, lora=lora), shape)
    assert (sft.sequences, sft.tokens, sft.dropout) == (2, 128, True)
    pairs = {"method": "dpo", "objective": "win_rate", "reward_model": "rm", "lora": lora}
    dpo = workload(stage(**pairs, per_device_train_batch_size=2, max_length=64), shape)
    assert (dpo.sequences, dpo.tokens) == (4, 256)
    assert not dpo.dropout  # TRL's default
    assert workload(stage(**pairs, disable_dropout=False), shape).dropout
    grpo = stage(
        method="grpo", objective="reward", rewards={"brevity": 1.0}, num_generations=4,
        per_device_train_batch_size=4, max_completion_length=30,
    )  # fmt: skip
    seen = workload(grpo, shape, prompt_tokens=20)
    assert (seen.length, seen.scored) == (50, 30)


@pytest.mark.parametrize("rows", [1, 2, 4, 8])
def test_a_proposal_keeps_the_effective_batch_and_fits(rows: int) -> None:
    shape, room = shape_of(QWEN, "qwen"), 6 * GIB
    own = work(
        rows=rows, steps=8 // rows, whole=8, length=1500, lora=LoraSize(8, frozenset({"o_proj"}))
    )

    def fits(one: Workload) -> bool:
        return predict(one, shape, T4, None).total <= room

    better = propose(own, fits)
    assert better is None or (better.batch == 8 and fits(better))
    assert fits(own) or better is not None
    assert propose(own, lambda one: one.rows <= 2 and one.checkpointing) == (
        own.in_batches_of(2, True)
    )
    assert propose(own, lambda one: False) is None


def test_a_setting_that_is_best_already_is_left_alone() -> None:
    assert propose(work(rows=4, steps=1), lambda one: True) is None
    assert propose(work(rows=2, steps=2, checkpointing=True), lambda one: one.checkpointing) == (
        work(rows=4, steps=1, checkpointing=True, padded=True)
    )


def test_kto_and_grpo_have_micro_batches_of_their_own() -> None:
    shape = read_shape(TINY)
    pairs = {"objective": "win_rate", "reward_model": "rm", "per_device_train_batch_size": 6}
    assert workload(stage(method="kto", **pairs), shape).sizes == [2, 3, 6]
    alone = stage(method="kto", loss_type="apo_zero_unpaired", **pairs)
    assert workload(alone, shape).sizes == [1, 2, 3, 6]
    grpo = stage(
        method="grpo", objective="reward", rewards={"brevity": 1.0}, num_generations=4,
        per_device_train_batch_size=4, gradient_accumulation_steps=6, generation_batch_size=8,
    )  # fmt: skip
    assert workload(grpo, shape).sizes == [1, 2, 4, 8]


def test_the_search_space_is_taken_at_its_worst() -> None:
    sft = {
        "method": "sft", "learning_rate": {"loguniform": [1e-5, 1e-3]}, "max_steps": 4,
        "objective": "nll", "lora": {"r": {"choice": [8, 32, 16]}, "lora_alpha": "2 * r"},
    }  # fmt: skip
    dpo = {
        "method": "dpo", "parent": "sft", "learning_rate": 1e-5, "max_steps": 4,
        "objective": "pair_accuracy", "beta": {"choice": [0.1, 0.2]},
    }  # fmt: skip
    first, second = fit_stages(recipe(sft=sft, dpo=dpo), ["sft", "dpo"], read_shape(TINY), T4)
    assert first.worst.params == {"lora.r": 32}
    assert (first.first.work.lora.rank, first.worst.work.lora.rank) == (8, 32)
    assert [one.work.beneath[0].rank for one in (second.first, second.worst)] == [8, 32]
    assert first.worst.peak.total > first.first.peak.total


def test_trials_share_a_card_with_a_margin() -> None:
    card = replace(T4, memory=1000)
    assert [card.holds(total) for total in (1001, 1000, 475, 476, 95)] == [0, 1, 2, 1, 10]
    shape = shape_of(QWEN, "qwen")
    one = {"method": "sft", "learning_rate": 1e-4, "max_steps": 4, "objective": "nll"}
    on_t4, on_h100 = (
        fit_stages(recipe(sft=one), ["sft"], shape, gpu(name))[0].worst for name in ("t4", "H100")
    )
    assert on_t4.sharing < on_h100.sharing
    assert on_h100.fraction * on_h100.sharing <= 1
    assert on_t4.peak.total * on_t4.sharing <= T4.memory


def test_an_unknown_gpu_names_those_that_are_known() -> None:
    with pytest.raises(RequestError, match=r"unknown GPU 'T5'; allowed: T4, P100, V100-16"):
        gpu("T5")


@pytest.mark.parametrize(
    "text, said",
    [("{", "cannot be read"), ("[]", "one JSON object"), ("{}", "no hidden_size"),
     (json.dumps({**QWEN, "vocab_size": None}), "no vocab_size in it")],
)  # fmt: skip
def test_a_config_that_cannot_be_used_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=said) as error:
        read_shape("anything", path)
    assert str(path) in str(error.value)


def test_a_base_is_read_from_its_folder_or_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    assert read_shape(str(tmp_path)).attention_bias
    with pytest.raises(ModelError, match=r"cannot be reached.*--config"):
        read_shape("nobody/nothing")
