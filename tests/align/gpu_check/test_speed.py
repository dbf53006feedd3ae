"""The figures of speed exist and are positive, also on a CPU."""

import pytest

from align.gpu_check import speed
from align.gpu_check.check import Setting
from align.gpu_check.processes import ProcessFailed


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "TOKENS", 4)


def test_an_engine_has_three_figures() -> None:
    figures = speed.measure_engine("tiny-random")
    assert set(figures) == {
        "base_tokens_per_second", "adapter_tokens_per_second", "first_token_ms",
    }  # fmt: skip
    assert all(value > 0 for value in figures.values())


def test_sharing_that_gains_nothing_is_told(monkeypatch, tmp_path) -> None:
    generation = speed.measure_engine("tiny-random")
    monkeypatch.setattr(speed, "measure_engine", lambda _: generation)
    for both, told in ((3.0, False), (1.9, True)):
        rates = {1: 2.0, 2: both}
        monkeypatch.setattr(speed, "steps_a_second", lambda _, count, rates=rates: rates[count])
        outcome = speed.run(Setting("tiny-random", "cuda", tmp_path))
        assert outcome.verdict == "PASS"
        assert outcome.figures["sharing_gain"] == both / 2
        assert ("no faster than one" in outcome.sentence) == told


def test_two_trials_that_do_not_fit_are_told_and_fail_nothing(monkeypatch, tmp_path) -> None:
    def steps(_, count):
        if count == 2:
            raise ProcessFailed("in a process of the check: OutOfMemoryError: CUDA out of memory")
        return 2.0

    figures = dict.fromkeys(
        ("base_tokens_per_second", "adapter_tokens_per_second", "first_token_ms"), 9.0
    )
    monkeypatch.setattr(speed, "measure_engine", lambda _: figures)
    monkeypatch.setattr(speed, "steps_a_second", steps)
    outcome = speed.run(Setting("tiny-random", "cuda", tmp_path))
    assert outcome.verdict == "PASS" and outcome.figures["sharing_gain"] is None
    assert "two trials do not fit the card" in outcome.sentence
