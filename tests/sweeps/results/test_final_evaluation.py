"""Systems measured side by side."""

import functools

import pytest

from align.errors import DataError
from sweeps.results.final_evaluation import System, evaluate_many


def test_systems_are_measured_side_by_side_in_the_order_given(local_ray, settings, recipe):
    heard = []
    systems = [System("base"), System("four-shot", shots=4)]
    measure = functools.partial(
        evaluate_many, settings, recipe, evaluate="tests.sweeps.fake_trial:evaluate"
    )
    found = measure(systems, on_done=heard.append)
    assert [one.system for one in found] == ["base", "four-shot"]
    assert found[0].split == "test" and len(heard) == 2
    judged = measure([System("base", earlier=found[0])])[0]
    assert (judged.correct, judged.reward) == (found[0].correct, [1.0])
    with pytest.raises(DataError, match=r"^no test split$"):
        measure([System("broken"), System("base")])


def test_a_system_whose_gpu_was_lost_is_measured_again(local_ray, settings, recipe):
    found = evaluate_many(
        settings, recipe, [System("lost once")], evaluate="tests.sweeps.fake_trial:evaluate"
    )
    assert [one.system for one in found] == ["lost once"]
    assert (settings.home / "lost").exists()
