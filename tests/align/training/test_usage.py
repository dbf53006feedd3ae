"""What a run has cost so far, over its segments and retries."""

import time

import torch

from align.training.train_record import OutOfMemory, TrainRecord
from align.training.usage import SKIPPED, Costs, peak_bytes, peak_reserved_bytes
from tests.align.training.short_runs import stage_of

STAGE = stage_of("sft", per_device_train_batch_size=4, gradient_accumulation_steps=1)
SMALLER = stage_of("sft", per_device_train_batch_size=2, gradient_accumulation_steps=2)


def test_a_first_segment_counts_from_its_beginning():
    costs = Costs(None, {"rows": 8})
    time.sleep(0.01)
    record = costs.record(STAGE, [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}], 2)
    assert 0.01 <= record.wall_seconds < 60
    assert record.metrics == {"train/loss": 1.0} and record.lengths == {"rows": 8}
    assert (record.per_device_train_batch_size, record.gradient_accumulation_steps) == (4, 1)
    assert record.out_of_memory == []


def test_a_later_segment_adds_to_what_was_recorded():
    retry = OutOfMemory(step=1, before=(8, 1), after=(4, 2))
    before = TrainRecord(
        per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
        out_of_memory=[retry],
        wall_seconds=1000.0,
        accelerator_seconds=900.0,
        peak_bytes=2**60,
    )
    costs = Costs(before, {})
    costs.ran_out(7, STAGE, SMALLER)
    record = costs.record(SMALLER, [], 8)
    assert 1000 < record.wall_seconds < 1060 and record.accelerator_seconds >= 900
    assert record.peak_bytes == 2**60
    assert record.out_of_memory == [retry, OutOfMemory(step=7, before=(4, 1), after=(2, 2))]
    assert before.out_of_memory == [retry]


def test_skipped_steps_add_up_and_a_repeated_step_counts_once():
    before = TrainRecord(
        per_device_train_batch_size=4, gradient_accumulation_steps=1, skipped_steps=2
    )
    costs = Costs(before, {})
    for step in (5, 7, 5):
        costs.skip(step)
    assert costs.skipped == [5, 7]
    record = costs.record(STAGE, [], 8)
    assert record.skipped_steps == 4 and record.metrics[SKIPPED] == 4
    assert SKIPPED not in Costs(None, {}).record(STAGE, [], 8).metrics


def test_this_process_holds_more_than_torch_alone_and_less_than_a_terabyte():
    assert 2**26 < peak_bytes() < 2**40


def test_what_the_allocator_took_of_a_card_is_recorded_beside_its_tensors(monkeypatch):
    """The pool of CUDA graphs is reserved, and no tensor of it is allocated."""
    assert peak_reserved_bytes() == 0
    before = TrainRecord(
        per_device_train_batch_size=4, gradient_accumulation_steps=1, peak_reserved_bytes=900
    )
    figures = {
        "is_available": lambda: True,
        "reset_peak_memory_stats": lambda: None,
        "max_memory_allocated": lambda: 500,
        "max_memory_reserved": lambda: 700,
    }
    for name, figure in figures.items():
        monkeypatch.setattr(torch.cuda, name, figure)
    record = Costs(None, {}).record(STAGE, [], 1)
    assert (record.peak_bytes, record.peak_reserved_bytes) == (500, 700)
    assert Costs(before, {}).record(STAGE, [], 2).peak_reserved_bytes == 900
