"""A step that raises: what was under way is gone, and nothing that it left behind is used."""

import pytest

from align.inference import GenerationRequest
from align.inference.engine import BankEngine
from tests.waiting import step_until

PROMPT = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]


class Broken(Exception):
    """Stands for what a device reports."""


def fail_once(monkeypatch, owner, name):
    real, calls = getattr(owner, name), []

    def call(*args):
        calls.append(args)
        if len(calls) == 1:
            raise Broken
        return real(*args)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize("where", ["read", "write", "put"])
def test_the_next_answer_is_right(tiny, make_adapter, monkeypatch, where):
    one, request = make_adapter("one", 1), GenerationRequest(PROMPT, "one", max_new_tokens=8)
    fresh = BankEngine(tiny)
    fresh.load("one", one)
    expected = fresh.generate([request])[0].token_ids

    engine = BankEngine(tiny)
    engine.load("one", one)
    owner = engine._model.bank if where == "put" else engine._model
    fail_once(monkeypatch, owner, where)
    sequence = engine.submit(request)[0]
    with pytest.raises(Broken):
        step_until(lambda: not engine.busy, engine.step)
    assert not engine.busy
    engine.cancel(sequence)
    again = engine.generate([request])[0]
    assert again.token_ids == expected
    assert again.cached_tokens == 0
