"""A process of its own, with messages both ways."""

import os

import pytest

from align.gpu_check.processes import Parent, ProcessFailed, child


def answer(parent: Parent, number: int) -> None:
    parent.send(os.getpid())
    parent.send(number + parent.receive())


def fail(parent: Parent) -> None:
    raise ValueError("no such thing\nand more")


def leave(parent: Parent) -> None:
    os._exit(3)


def test_messages_go_both_ways() -> None:
    with child(answer, 40) as process:
        assert process.receive() != os.getpid()
        process.send(2)
        assert process.receive() == 42


def test_an_error_is_raised_here() -> None:
    with (
        child(fail) as process,
        pytest.raises(ProcessFailed, match=r"ValueError: no such thing$"),
    ):
        process.receive()


def test_a_process_that_ends_is_told() -> None:
    with (
        child(leave) as process,
        pytest.raises(ProcessFailed, match="has ended without an answer"),
    ):
        process.receive()
