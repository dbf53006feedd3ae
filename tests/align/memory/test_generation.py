"""The sequences that the engine beside a recipe's trials is sized for."""

from align.memory.generation import longest_sequence
from tests.align.memory.workloads import recipe

SFT = {"method": "sft", "learning_rate": 1e-4, "max_steps": 4, "objective": "nll"}
GRPO = {
    "method": "grpo", "learning_rate": 1e-5, "max_steps": 4, "objective": "reward",
    "rewards": {"brevity": 1.0},
}  # fmt: skip


def test_the_longest_stage_counts_whichever_it_is() -> None:
    short, long = {**SFT, "max_length": 300}, {**SFT, "max_length": 700}
    assert longest_sequence(recipe(one=short, two=long)) == 700
    assert longest_sequence(recipe(one=short)) == 256 + 64  # a held-out prompt and its answer
    assert longest_sequence(recipe(one=short), prompt_tokens=500) == 564


def test_online_stages_have_a_prompt_and_a_completion() -> None:
    grpo = {**GRPO, "max_completion_length": 400}
    assert longest_sequence(recipe(grpo=grpo)) == 656
    assert longest_sequence(recipe(grpo=grpo), prompt_tokens=100) == 500


def test_searched_lengths_count_with_their_largest_value() -> None:
    searched = {**SFT, "max_length": {"choice": [300, 900, 600]}}
    assert longest_sequence(recipe(one=searched)) == 900
