"""Which answers are right."""

from align.evaluation.checking import accuracies, measurable
from align.recipe.rewards import configure


def test_part_of_the_credit_is_no_right_answer(monkeypatch):
    """Tasks of reasoning_gym give a little for an answer that is nearly right, or only there."""
    monkeypatch.setattr("align.reasoning_tasks.score", lambda text, entry: float(text))
    problems = [{"answer": "7", "entry": "{}"}] * 4
    assert accuracies(problems, ["1.0", "0.99", "0.01", "0.0"]) == [1.0, 0.0, 0.0, 0.0]
    assert accuracies([{"answer": "7"}] * 2, ["It is 7.", "It is 8."]) == [1.0, 0.0]
    assert accuracies([{"answer": "7"}, {}], ["7", "7"]) == []  # nothing for some rows alone


def test_a_reward_is_measurable_only_with_its_factor():
    raw = {"correctness": 1, "brevity": {"weight": 1, "times": "correctness"}, "repetition": 1}
    assert list(measurable(configure(raw), {"id": [1]})) == ["repetition"]
    assert list(measurable(configure(raw), {"answer": ["7"]})) == [*raw]
