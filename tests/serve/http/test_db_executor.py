"""No request waits long for the database."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cluster.errors import DatabaseError
from serve.http import db_executor
from serve.http.db_executor import soon


def test_a_call_runs_on_another_thread_and_gives_what_it_gives():
    def work(one, other):
        return one + other, threading.current_thread() is threading.main_thread()

    assert asyncio.run(soon(work, 1, 2)) == (3, False)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(soon(lambda: 1 / 0))


def test_a_call_that_takes_too_long_is_an_error_and_goes_on(monkeypatch):
    monkeypatch.setattr(db_executor, "PATIENCE_SECONDS", 0.05)
    may_end, ended = threading.Event(), threading.Event()

    def work():
        assert may_end.wait(60)
        ended.set()

    with pytest.raises(DatabaseError, match=r"has not answered for 0\.05 s"):
        asyncio.run(soon(work))
    may_end.set()
    assert ended.wait(60)
