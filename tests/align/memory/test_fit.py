"""What is proposed where a stage does not fit, and which trial is the largest."""

import pytest

from align.errors import ModelError
from align.memory.fit import fit_stages, propose
from align.memory.machines import GIB
from align.memory.peak import predict
from align.memory.shape import read_shape, shape_of
from align.memory.workload import LoraSize, Workload
from align.sources import TINY
from tests.align.memory.workloads import T4, recipe, work
from tests.align.shapes import QWEN


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


def test_layers_in_fp32_are_counted_on_a_card_that_computes_in_fp16() -> None:
    sft = {"method": "sft", "learning_rate": 1e-4, "max_steps": 4, "objective": "nll"}
    plain, shape = recipe(sft=sft), read_shape(TINY)
    held = plain.model_copy(update={"fp32_modules": ["mlp"]})
    (before,), (after,) = (fit_stages(one, ["sft"], shape, T4) for one in (plain, held))
    assert after.worst.peak.weights - before.worst.peak.weights == 2 * 2 * 3 * 64 * 128
    for name in ("foo", "lm_head", "layers.2.mlp", "q_proj"):
        wrong = plain.model_copy(update={"fp32_modules": ["mlp", name]})
        with pytest.raises(ModelError, match=f"'{name}' names no linear layer .*layers.1.mlp"):
            fit_stages(wrong, ["sft"], shape, T4)
