"""What is wrong about a stage. That all methods pass on a CPU is shown by the command's test."""

import pytest

from align.gpu_check.stages import find_problems


@pytest.mark.parametrize(
    "changed, said",
    [
        ({}, ""),
        ({"objective": float("nan")}, "its objective is nan"),
        ({"difference": 0.5}, "serving differs from training by 5.0e-01"),
        ({"difference": float("nan")}, "serving differs from training by nan"),
        ({"ranks": (4, 4)}, "rank 4 does not hold the parent's 4"),
    ],
)
def test_a_stage_that_is_wrong_is_told(changed, said) -> None:
    usual = {"objective": 0.5, "difference": 1e-4, "ranks": (4, 8)}
    problems = find_problems("dpo", **usual | changed, dtype="float32")
    assert len(problems) == bool(said)
    assert said in "".join(problems)
    assert all(problem.startswith("dpo: ") for problem in problems)


def test_half_precision_may_round_more() -> None:
    assert find_problems("sft", 0.0, 0.01, (0, 4), "float16") == []
    assert find_problems("sft", 0.0, 0.01, (0, 4), "float32") != []
