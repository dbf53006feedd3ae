"""What is recorded of a run beside its tensors."""

import math

import pytest

from align.base import Base, load_base
from align.training.train_record import last_metrics, read_record
from tests.align.training.short_runs import run


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base("tiny-random")


def test_records_add_up_over_segments(base, tmp_path):
    seconds = []
    for step in (1, 2):
        losses, checkpoint = run(base, "sft", tmp_path, to=step)
        record = read_record(checkpoint)
        seconds.append(record.wall_seconds)
    assert 0 < seconds[0] < seconds[1]
    assert record.accelerator_seconds == 0  # no CUDA here
    assert record.peak_bytes > 2**26
    assert (record.per_device_train_batch_size, record.gradient_accumulation_steps) == (4, 1)
    assert record.metrics["train/loss"] == losses[2]
    assert "train/mean_token_accuracy" in record.metrics


def test_recorded_metrics_are_finite_means_over_the_last_tenth_of_the_steps():
    history = [
        {"step": step, "epoch": 0.1, "loss": float(step), "grad_norm": math.inf if step < 20 else 1}
        for step in range(1, 21)
    ]
    assert last_metrics(history, 20) == {"train/loss": 19.5, "train/grad_norm": 1.0}
    assert last_metrics(history, 5) == {"train/loss": 5.0}
