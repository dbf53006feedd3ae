"""Checkpoints: whole or not there, one at a time, and a run goes on from them as if unbroken."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from align.base import Base, load_base
from align.inference.engine import BankEngine
from align.inference.options import EngineOptions
from align.methods.online import generation_period
from align.training.checkpoints import make_visible, newest_checkpoint
from tests.align.training.short_runs import METHODS, rows_of, run, same, stage_of
from tests.umasks import modes, umask


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base("tiny-random")


@pytest.fixture(scope="module")
def engine(base) -> BankEngine:
    return BankEngine(base, EngineOptions(slots=16, slot_tokens=512))


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("step_*"))


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_broken_equals_an_unbroken_one(base, engine, tmp_path, method):
    """With dropout, in mid-epoch and between epochs: losses and weights bit for bit."""
    rows = rows_of(method, 4 if method == "grpo" else 8)  # two steps an epoch
    given = {"rows": rows, "steps": 4, "engine": engine if method == "grpo" else None}
    whole, unbroken = run(base, method, tmp_path / "whole", to=4, **given)
    assert len(set(whole.values())) > 1 or method == "grpo"  # whose loss is 0 on policy
    losses = {}
    for step in (2, 3, 4):
        part, broken = run(base, method, tmp_path / "broken", to=step, **given)
        losses |= part
    assert losses == whole
    assert same(broken, unbroken)
    assert visible(tmp_path / "broken") == ["step_000004"]


def test_grpo_goes_on_where_completions_are_written_anew(base, engine, tmp_path):
    """Completions that serve four steps: the run can be broken between two sets of them."""
    stage = stage_of("grpo", steps_per_generation=2, num_iterations=2, save_steps=4)
    assert generation_period(stage) == 4
    given = {"stage": stage, "rows": rows_of("grpo", 4), "steps": 8, "engine": engine}
    whole, unbroken = run(base, "grpo", tmp_path / "whole", to=8, **given)
    assert any(loss != 0 for loss in whole.values())  # off policy in the second iteration
    losses = {}
    for step in (4, 8):
        part, broken = run(base, "grpo", tmp_path / "broken", to=step, **given)
        losses |= part
    assert losses == whole and same(broken, unbroken)


def test_a_checkpoint_lies_there_as_soon_as_it_is_saved_and_the_older_one_goes(base, tmp_path):
    seen = {}

    def look(step, _):
        seen[step] = visible(tmp_path)

    _, last = run(base, "sft", tmp_path, to=5, stage=stage_of("sft", save_steps=2), on_step=look)
    assert seen == {1: [], 2: [], 3: ["step_000002"], 4: ["step_000002"], 5: ["step_000004"]}
    assert [path.name for path in tmp_path.iterdir()] == ["step_000005"]
    assert {path.name for path in last.iterdir()} == {"state", "published", "record.json"}


CHILD = """
import os, signal, sys
from pathlib import Path
from tests.align.training.short_runs import run, stage_of
from align.base import load_base

def die(step, logs):
    print(step, logs["loss"], flush=True)
    if step == 5:
        os.kill(os.getpid(), signal.SIGKILL)

stage = stage_of("dpo", save_steps=2)
run(load_base("tiny-random"), "dpo", Path(sys.argv[1]), to=8, stage=stage, on_step=die)
"""


def test_a_killed_process_is_continued_and_printed_nothing_of_its_own(base, tmp_path):
    """SIGKILL in mid-run: the same losses and bits as a run that nobody killed."""
    loud = {key: value for key, value in os.environ.items() if "PROGRESS_BARS" not in key}
    killed = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "broken")],
        env=loud,
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stderr == ""
    told = {int(step): float(loss) for step, loss in map(str.split, killed.stdout.splitlines())}
    assert list(told) == [1, 2, 3, 4, 5]
    assert visible(tmp_path / "broken") == ["step_000004"]
    assert len(list((tmp_path / "broken").iterdir())) == 2  # and what it was working on
    stage = stage_of("dpo", save_steps=2)
    after, broken = run(base, "dpo", tmp_path / "broken", stage=stage)
    whole, unbroken = run(base, "dpo", tmp_path / "whole", stage=stage)
    assert list(after) == [5, 6, 7, 8]
    assert told | after == whole
    assert same(broken, unbroken)
    assert [path.name for path in (tmp_path / "broken").iterdir()] == ["step_000008"]


def test_a_partial_checkpoint_is_never_taken_for_a_whole_one(tmp_path):
    (tmp_path / ".work-1" / "checkpoint-3").mkdir(parents=True)
    assert newest_checkpoint(tmp_path) == (0, None)


def test_the_newest_checkpoint_is_the_one_of_the_highest_step(tmp_path):
    for name in ("step_999999", "step_1000000"):
        (tmp_path / name).mkdir()
    assert newest_checkpoint(tmp_path) == (1_000_000, tmp_path / "step_1000000")


def test_a_step_that_another_worker_wrote_a_moment_ago_stays_as_it_is(tmp_path):
    for name in ("step_000002", "step_000004", ".work-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(name)
    make_visible(tmp_path / ".work-1", tmp_path, 4)
    assert visible(tmp_path) == ["step_000004"]
    assert (tmp_path / "step_000004" / "record.json").read_text() == "step_000004"


def test_another_user_can_go_on_from_a_checkpoint(base, tmp_path):
    with umask(0o027):
        run(base, "sft", tmp_path / "trial", rows=rows_of("sft", 4), steps=2, to=2)
    (checkpoint,) = (tmp_path / "trial").glob("step_*")
    assert {mode for name, mode in modes(checkpoint).items() if "." in name[1:]} == {0o640}
