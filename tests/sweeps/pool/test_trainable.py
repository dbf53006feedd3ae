"""Up to where a trial is trained next, and what follows from its error."""

import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest

from align.errors import DataError, GpuLost, TrainingError
from sweeps.pool.trainable import TrialRunner, failure, next_milestone

DATA = DataError("no rows")


@pytest.mark.parametrize(
    ("decided", "trained", "measured", "expected"),
    [
        (0, 0, set(), 10),
        (10, 10, {10}, 20),
        (0, 10, {10}, 10),  # measured, but its driver died before it was told
        (0, 10, set(), 10),  # trained, but its worker died before it measured
        (0, 20, set(), 20),
        (20, 30, {30}, 30),
        (20, 30, set(), 30),
        (30, 30, {30}, 30),
    ],
)
def test_the_next_milestone(decided, trained, measured, expected):
    assert next_milestone((10, 20, 30), decided, trained, measured) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TrainingError("loss is NaN"), {"failure": "TrainingError: loss is NaN"}),
        (DATA, {"failure": "DataError: no rows", "error": DATA}),
    ],
)
def test_a_trial_at_fault_leaves_its_worker_to_others(error, expected):
    assert failure(error) == expected


@pytest.mark.parametrize("result", [{"milestone": "{}"}, {"failure": "loss is NaN"}])
def test_what_the_process_warned_of_goes_with_the_result(settings, monkeypatch, result):
    texts = ["3 of 9 rows are cut"]

    def advance(_runner):
        for text in texts:
            logging.getLogger("align.training.train").warning(text)
        return result

    monkeypatch.setattr(TrialRunner, "_result", advance)
    runner = TrialRunner.__new__(TrialRunner)
    runner._job = SimpleNamespace(open_settings=lambda: settings)
    assert runner.step() == {**result, "warnings": '["3 of 9 rows are cut"]'}
    texts.clear()
    assert runner.step() == result


def test_what_may_be_the_machines_fault_ends_the_worker():
    with pytest.raises(ZeroDivisionError):
        failure(ZeroDivisionError())
    hidden = TrainingError("the weights are not finite")
    hidden.__context__ = RuntimeError("CUDA error: misaligned address")
    with pytest.raises(GpuLost, match="misaligned address"):
        failure(hidden)


def test_a_worker_imports_no_torch_before_its_environment_is_set():
    """CUDA and torch's allocator read their variables once."""
    code = "import sys, sweeps.pool.trainable; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
