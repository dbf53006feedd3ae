"""The sequences and micro-batches of a stage."""

from align.memory.shape import read_shape
from align.memory.workload import workload
from align.sources import TINY
from tests.align.memory.workloads import stage


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


def test_layers_in_fp32_are_the_bases_of_a_shape() -> None:
    shape = read_shape(TINY)
    assert workload(stage(), shape).held == 0
    held = workload(stage(), shape, fp32_modules=["layers.1.mlp"]).held
    assert held == 3 * shape.hidden * shape.intermediate
