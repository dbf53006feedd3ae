"""Signals that end a block, and signals that wait for its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from cluster.signals import ended_by_signals, in_main_thread, signals_deferred

#: Prints what became of the block; the first `{}` is what the program does before it.
BLOCK = """
import signal
from cluster.signals import ended_by_signals
{}
try:
    with ended_by_signals():
        signal.raise_signal(signal.{})
        print("went on")
except KeyboardInterrupt:
    print("interrupted")
finally:
    print("cleaned up")
"""


@pytest.fixture(autouse=True)
def ends_with_its_terminal() -> Iterator[None]:
    """The end of a terminal is ignored below `nohup`, also by what runs the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def ended(before: str, by: str = "SIGTERM") -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK.format(before, by)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("by", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_block_with_its_clean_up(by: str) -> None:
    assert ended("", by) == (128 + signal.Signals[by], ["cleaned up"])


def test_a_program_that_does_something_else_at_sigterm_does_it_still() -> None:
    assert ended("signal.signal(signal.SIGTERM, lambda *_: print('mine'))") == (
        0,
        ["mine", "went on", "cleaned up"],
    )


def test_ctrl_c_ends_the_block_where_the_shell_has_ignored_it() -> None:
    ignored = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    assert ended(ignored, "SIGINT") == (0, ["interrupted", "cleaned up"])


def test_the_end_of_the_terminal_stays_ignored_below_nohup() -> None:
    ignored = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    assert ended(ignored, "SIGHUP") == (0, ["went on", "cleaned up"])


def test_a_signal_within_two_blocks_ends_both_with_its_own_code() -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    with pytest.raises(SystemExit) as end, ended_by_signals(), ended_by_signals():
        try:
            signal.raise_signal(signal.SIGHUP)
        except SystemExit:
            raise SystemExit(1) from None  # as code in C++ does that waits
    assert end.value.code == 128 + signal.SIGHUP
    assert {one: signal.getsignal(one) for one in before} == before


def test_after_the_block_sigterm_does_what_it_did() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end, ended_by_signals():
        raise SystemExit(3)
    assert end.value.code == 3  # no signal came, so it is the block's own
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    told: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda *_: told.append("signal"))
    try:
        with signals_deferred():
            signal.raise_signal(signal.SIGTERM)
            told.append("block")
        assert told == ["block", "signal"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ctrl_c_waits_for_the_end_of_the_block_too() -> None:
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt), signals_deferred():
        signal.raise_signal(signal.SIGINT)
        told.append("block")
    assert told == ["block"]


def test_an_ignored_signal_hides_none_that_comes_after_it() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), signals_deferred():
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_beside_the_main_thread_blocks_run_without_handlers() -> None:
    told: list[bool] = []

    def run() -> None:
        with ended_by_signals(), signals_deferred():
            told.append(in_main_thread())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert told == [False] and in_main_thread()
