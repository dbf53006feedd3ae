"""What a process takes against its prediction, and that running out of memory is survived."""

from pathlib import Path

import pytest

from align.gpu_check import memory
from align.gpu_check.check import Setting
from align.gpu_check.memory import Process, judge_recovery, longest_row, memory_problems, recover
from align.memory.peak import Peak
from align.training.train_record import OutOfMemory

MIB = 2**20


def process(reserved: int = 1000 * MIB, floors: tuple[int, ...] = (300, 310, 310)) -> Process:
    return Process(
        context=500 * MIB,
        allocated=800 * MIB,
        reserved=reserved,
        floors=tuple(floor * MIB for floor in floors),
    )


def test_a_process_is_its_context_and_what_is_reserved() -> None:
    assert process().total == 1500 * MIB
    assert process().fragmentation == 0.25


@pytest.mark.parametrize(
    "counted, tensors, said",
    [
        (process(), 800, []),
        (process(), 5000, []),
        (process(), 700, ["tensors took 0.78 GiB where `recipe fit` predicts 0.68"]),
        (process(floors=(300, 310, 400)), 800, ["memory grows by 90 MiB from trial to trial"]),
        (process(floors=(900, 310, 310)), 800, []),
    ],
)
def test_what_is_wrong_is_told(counted: Process, tensors: int, said: list[str]) -> None:
    problems = memory_problems(counted, tensors * MIB)
    assert len(problems) == len(said)
    assert all(text in problem for text, problem in zip(said, problems, strict=True))


def test_a_run_that_ran_out_goes_on_with_smaller_batches(tmp_path: Path) -> None:
    retries = recover(Setting("tiny-random", "cpu", tmp_path))
    assert [(retry.before, retry.after) for retry in retries] == [((4, 1), (2, 2))]
    outcome = judge_recovery(retries)
    assert outcome.verdict == "PASS"
    assert "micro-batches of 2 in place of 4 rows" in outcome.sentence


def test_other_rows_in_a_step_and_no_retry_fail() -> None:
    assert judge_recovery([]).verdict == "FAIL"
    changed = judge_recovery([OutOfMemory(step=1, before=(4, 1), after=(2, 1))])
    assert changed.verdict == "FAIL" and "changed the rows of a step" in changed.sentence


def judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tensors: int):
    retries = [OutOfMemory(step=2, before=(4, 1), after=(2, 2))]
    monkeypatch.setattr(memory, "recover", lambda _: retries)
    monkeypatch.setattr(memory, "measure", lambda _: process())
    monkeypatch.setattr(memory, "predict", lambda _: Peak(tensors, 0, 0, 0, 0, 0, 550 * MIB))
    return memory.run(Setting("tiny-random", "cuda", tmp_path))


def test_the_figures_are_those_that_predictions_read(monkeypatch, tmp_path) -> None:
    outcome = judged(monkeypatch, tmp_path, 800 * MIB)
    assert outcome.verdict == "PASS", outcome.sentence
    assert outcome.figures["context"] == 500 * MIB
    assert outcome.figures["fragmentation"] == 0.25
    assert judged(monkeypatch, tmp_path, 500 * MIB).verdict == "FAIL"


def test_the_longest_row_fits_the_stage() -> None:
    assert 50 < longest_row("tiny-random") < memory.recipe("tiny-random").stages["sft"].max_length
