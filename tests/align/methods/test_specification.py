"""What holds for a method that says nothing else, and what drafts of recipes share."""

from align.methods.specification import TRUNCATION, Draft, Method, judged_objective

BOTH = Draft(methods=("sft", "reward", "dpo"), answer_tokens=64, checkable=True)


def test_a_row_is_cut_at_the_limit_and_left_out_where_nothing_of_its_answer_remains() -> None:
    def fate(prompt: int, longest: int) -> str:
        return Method().fate(prompt, longest, 10, TRUNCATION)

    assert [fate(4, 10), fate(4, 11), fate(9, 30), fate(10, 11)] == [
        "whole",
        "cut",
        "cut",
        "left out",
    ]


def test_a_row_that_loses_its_beginning_is_never_left_out() -> None:
    options = {**TRUNCATION, "truncation_mode": "keep_end"}
    assert Method().fate(10, 11, 10, options) == "cut"


def test_a_recipe_with_a_reward_model_is_drafted_with_the_win_rate() -> None:
    drafted = judged_objective(BOTH, "accuracy")
    assert drafted.startswith("win_rate  #")
    assert "constraints: [length <= 1.5 * parent.length]" in drafted


def test_without_an_sft_stage_answers_are_as_long_as_those_of_the_base() -> None:
    draft = Draft(methods=("reward", "dpo"), answer_tokens=64, checkable=True)
    assert "1.5 * base.length" in judged_objective(draft, "accuracy")


def test_without_a_reward_model_nothing_is_judged() -> None:
    draft = Draft(methods=("sft", "dpo"), answer_tokens=64, checkable=True)
    assert judged_objective(draft, "accuracy") == "accuracy"
