"""Out of memory: smaller micro-batches for the same effective batch, from the newest checkpoint."""

import gc
import weakref

import pytest
import torch
from transformers import Trainer

from align.base import load_base
from align.errors import TrainingError
from align.inference.engine import BankEngine
from align.inference.options import EngineOptions
from align.memory.oom_backoff import halved, sized, smaller
from align.methods.online import generation_batch, generation_period
from align.precision import choose
from align.recipe import StageConfig
from align.training.train_record import OutOfMemory, read_record
from tests.align.training.short_runs import rows_of, run, same, stage_of, tensors


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((8, 1), (4, 2)),
        ((2, 4), (1, 8)),
        ((3, 1), (1, 3)),
        ((6, 1), (3, 2)),
        ((3, 2), (1, 6)),
        ((5, 4), (2, 10)),
        ((1, 8), None),
    ],
)
def test_halving_keeps_the_effective_batch(before, after):
    assert halved(*before) == after


def test_kto_keeps_a_neighbour_to_pair_with():
    assert halved(4, 1, least=2) == (2, 2)
    assert halved(2, 2, least=2) is None
    assert smaller(stage_of("kto", per_device_train_batch_size=2)) is None
    alone = stage_of("kto", per_device_train_batch_size=2, loss_type="apo_zero_unpaired")
    assert smaller(alone).per_device_train_batch_size == 1


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"steps_per_generation": 2, "gradient_accumulation_steps": 2},
        {"steps_per_generation": 1, "gradient_accumulation_steps": 4},
        {"steps_per_generation": 3, "per_device_train_batch_size": 6},
        {"generation_batch_size": 12, "per_device_train_batch_size": 6},
        {"num_iterations": 2},
    ],
)
def test_grpo_writes_as_many_completions_for_as_many_steps_as_before(given):
    """Down to single rows, each time a stage that TRL's rules and ours accept."""
    stage, seen = stage_of("grpo", **given), []
    while stage is not None:
        assert len(seen) < 100, "it never becomes small enough"
        StageConfig.model_validate(stage.model_dump())
        seen.append((stage.completions_per_step, generation_batch(stage), generation_period(stage)))
        last, stage = stage, smaller(stage)
    assert len(set(seen)) == 1 and len(seen) > 1
    assert last.per_device_train_batch_size == 1


GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


def full(monkeypatch, rows: int, step: int, error: Exception = GPU):
    """Memory holds less than `rows` a micro-batch from `step` on; what trainers were used."""
    whole, used = Trainer.training_step, []

    def training_step(self, *args, **kwargs):
        if not used or used[-1]() is not self:
            gc.collect()
            assert all(one() is None for one in used), "an earlier trainer still holds memory"
            used.append(weakref.ref(self))
        if self.args.per_device_train_batch_size >= rows and self.state.global_step + 1 >= step:
            raise type(error)(*error.args)
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "training_step", training_step)
    return used


@pytest.fixture
def fp32(monkeypatch):
    monkeypatch.setattr(
        "align.methods.trainers.trainer_inputs.precision", lambda: choose("cpu", None, False)
    )


@pytest.mark.parametrize("method", ["sft", "dpo", "grpo"])
def test_without_a_checkpoint_the_run_is_that_of_the_smaller_batch(
    tiny, fp32, tmp_path, monkeypatch, method
):
    engine = BankEngine(tiny, EngineOptions(slots=16, slot_tokens=512))
    stage = stage_of(method, dropout=0.0)
    given = {"rows": rows_of(method, 8), "engine": engine if method == "grpo" else None, "to": 2}
    large, first = run(tiny, method, tmp_path / "large", stage=stage, **given)
    small, second = run(tiny, method, tmp_path / "small", stage=sized(stage, 2), **given)
    used = full(monkeypatch, rows=4, step=2)
    losses, third = run(tiny, method, tmp_path / "full", stage=stage, **given)
    assert len(used) == 2
    assert losses == small and same(second, third)
    assert losses == pytest.approx(large, abs=1e-5)
    ours, theirs = tensors(third), tensors(first)
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-4)
    assert read_record(third).out_of_memory == [OutOfMemory(step=2, before=(4, 1), after=(2, 2))]


@pytest.mark.parametrize(
    "told",
    [
        "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 8589934592 bytes. Error code 12 (Cannot allocate memory)",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_memory_that_is_short_is_known_by_what_is_said_too(fp32, tmp_path, monkeypatch, told):
    full(monkeypatch, rows=4, step=1, error=RuntimeError(told))
    _, checkpoint = run(load_base("tiny-random"), "sft", tmp_path, to=1)
    assert [one.after for one in read_record(checkpoint).out_of_memory] == [(2, 2)]


def test_other_errors_are_not_taken_for_it(fp32, tmp_path, monkeypatch):
    full(monkeypatch, rows=4, step=1, error=RuntimeError("mat1 and mat2 shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run(load_base("tiny-random"), "sft", tmp_path, to=1)


def test_the_run_goes_on_from_its_newest_checkpoint_and_stays_small(
    tiny, fp32, tmp_path, monkeypatch
):
    stage = stage_of("sft", dropout=0.0, save_steps=2)
    whole, _ = run(tiny, "sft", tmp_path / "whole", stage=stage, to=6)
    steps, losses = [], {}

    def keep(step, logs):
        steps.append(step)
        losses[step] = logs["loss"]

    full(monkeypatch, rows=2, step=4)
    _, checkpoint = run(tiny, "sft", tmp_path / "full", stage=stage, to=5, on_step=keep)
    assert steps == [1, 2, 3, 3, 3, 4, 5]
    record = read_record(checkpoint)
    assert [one.model_dump() for one in record.out_of_memory] == [
        {"step": 4, "before": (4, 1), "after": (2, 2)},
        {"step": 4, "before": (2, 2), "after": (1, 4)},
    ]
    assert (record.per_device_train_batch_size, record.gradient_accumulation_steps) == (1, 4)
    # A later segment would run out again with more than one row.
    _, checkpoint = run(tiny, "sft", tmp_path / "full", stage=stage, to=6, on_step=keep)
    assert len(read_record(checkpoint).out_of_memory) == 2
    assert losses == pytest.approx(whole, abs=1e-5)


def test_the_smallest_batch_out_of_memory_says_what_to_do(tmp_path, monkeypatch):
    full(monkeypatch, rows=1, step=1)
    with pytest.raises(TrainingError, match=r"step 1: .*gradient_checkpointing.*recipe fit"):
        run(load_base("tiny-random"), "sft", tmp_path, to=2)
    assert list(tmp_path.iterdir()) == []


def test_a_judge_out_of_memory_is_not_the_micro_batchs_fault(tiny, fp32, tmp_path, monkeypatch):
    engine = BankEngine(tiny, EngineOptions(slots=16, slot_tokens=512))

    def full(*_):
        raise torch.OutOfMemoryError(str(GPU))  # an error of its own, as it holds the engine

    def judged(completions, **_):
        monkeypatch.setattr(engine._model, "read", full)
        return engine.log_probabilities([([5], [6])] * len(completions), None)

    with pytest.raises(
        TrainingError, match=r"step 1: out of memory while the engine loads weights or scores"
    ):
        run(tiny, "grpo", tmp_path, engine=engine, rewards=[("judged", 1.0, judged)], to=1)
    assert list(tmp_path.iterdir()) == []
