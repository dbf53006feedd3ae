"""What is measured once for all trials, and what each time."""

import pytest

from align.evaluation.systems import shared_engine
from tests.align.evaluation.held_out import SMOKE, held_out


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """How many requests the engine gets, one entry a call."""
    engine, seen = shared_engine("tiny-random"), []
    submit = type(engine).submit

    def watched(self, request, streamed=True):
        seen.append(1)
        return submit(self, request, streamed)

    monkeypatch.setattr(type(engine), "submit", watched)
    return seen


def test_base_and_parent_are_measured_once_for_all_trials(home, other, judge, counted):
    first = held_out(SMOKE, "grpo", other, judge)
    measured = [first.beside(one).metrics() for one in (other, None)]
    asked = len(counted)
    assert asked > 0
    again = held_out(SMOKE, "grpo", other, judge)  # as another worker would
    assert [again.beside(one).metrics() for one in (other, None)] == measured
    assert len(counted) == asked
    recipe = SMOKE.model_copy(deep=True)
    recipe.evaluation.max_new_tokens += 1  # the same items under other settings
    held_out(recipe, "grpo", other, judge).beside(None)
    assert len(counted) > asked


def test_what_was_kept_and_is_damaged_is_measured_anew(home, counted):
    items = held_out(SMOKE, "sft", None)
    before = items.beside(None).metrics()
    asked = len(counted)
    for file in (home / "evaluations").glob("*.json"):
        file.write_text(file.read_text()[:20])
    assert items.beside(None).metrics() == before and len(counted) == 2 * asked
    assert not list((home / "evaluations").glob(".*"))


def test_a_trials_own_adapters_are_not_kept(home, other, counted):
    items = held_out(SMOKE, "sft", None)
    items.evaluator.answering(other, "validation", {})
    assert not (home / "evaluations").exists()
