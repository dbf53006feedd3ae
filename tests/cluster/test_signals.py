"""Signals that end a block, and signals that wait for its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from cluster.signals import ended_by_sigterm, in_main_thread, signals_deferred

#: Prints what became of the block; `{}` is what the program does with SIGTERM before it.
BLOCK = """
import signal
from cluster.signals import ended_by_sigterm
{}
try:
    with ended_by_sigterm():
        signal.raise_signal(signal.SIGTERM)
        print("went on")
finally:
    print("cleaned up")
"""


def ended(before: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK.format(before)], capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout.splitlines()


def test_sigterm_ends_the_block_with_its_clean_up() -> None:
    assert ended("") == (128 + signal.SIGTERM, ["cleaned up"])


def test_a_program_that_does_something_else_at_sigterm_does_it_still() -> None:
    assert ended("signal.signal(signal.SIGTERM, lambda *_: print('mine'))") == (
        0,
        ["mine", "went on", "cleaned up"],
    )


def test_after_the_block_sigterm_does_what_it_did() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end, ended_by_sigterm():
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


def test_beside_the_main_thread_blocks_run_without_handlers() -> None:
    told: list[bool] = []

    def run() -> None:
        with ended_by_sigterm(), signals_deferred():
            told.append(in_main_thread())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert told == [False] and in_main_thread()
