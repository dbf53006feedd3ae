"""The recipe of the checks has every method on a parent."""

from align.gpu_check.recipes import PARENT, STEPS, recipe
from align.methods import METHODS


def test_every_method_has_a_stage_on_the_parent() -> None:
    made = recipe("tiny-random")
    assert set(made.stages) == {PARENT, *METHODS}
    for method in METHODS:
        assert made.stages[method].method == method
        assert made.stages[method].parent == PARENT
        assert made.steps(method) == STEPS
        judged = made.stages[method].reward_model is not None
        assert judged == METHODS[method].online


def test_the_length_of_sequences_can_be_set() -> None:
    assert recipe("tiny-random", 100).stages[PARENT].max_length == 100
