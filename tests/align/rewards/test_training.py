"""GRPO with rewards that fail on some samples: the run goes on, and the failures are seen."""

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from align.data.splits import load_split
from align.inference.engine import BankEngine
from align.inference.options import EngineOptions
from align.recipe import load_recipe
from align.recipe.rewards import configure, located
from align.rewards import Rewards, reward_functions
from align.training.train import train
from tests.align.rewards.scoring import ASK, MOODY

SMOKE = load_recipe("arithmetic-smoke")
STAGE = SMOKE.stages["grpo"].resolve({"beta": 0.0})
ROWS = load_split(SMOKE, "grpo", "train")
CODE = """
calls = []

def moody(completion):
    calls.append(completion)
    if len(calls) % 3 == 0:
        raise ValueError("every third")
    return float(len(completion)) if len(calls) % 3 == 1 else float("nan")
"""


@pytest.mark.parametrize("others", [{}, {"brevity": 1.0}], ids=["alone", "beside another"])
def test_training_goes_on_where_a_reward_fails(tiny: Any, tmp_path: Any, others: Any) -> None:
    (tmp_path / "moods.py").write_text(CODE)
    raw = {"moody": {"weight": 0.1, "python": "moods:moody"}, **others}
    rewards = Rewards(located(configure(raw), tmp_path))
    logs: list[dict[str, float]] = []
    checkpoint = train(
        tiny,
        STAGE,
        ROWS,
        tmp_path / "run",
        to=3,
        steps=3,
        seed=0,
        rewards=reward_functions(rewards),
        engine=BankEngine(tiny, EngineOptions(slots=8, slot_tokens=512)),
        on_step=lambda step, numbers: logs.append(numbers),
    )
    assert rewards.failed == 8  # of 3 steps of 4 completions: two of three
    assert {one.error for one in rewards.failures} == {
        "ValueError: every third",
        "ValueError: returned nan, which is no finite number",
    }
    assert [one["rewards/moody/failed"] for one in logs] == [0.5, 0.75, 0.75]
    assert all(one["rewards/moody/mean"] > 0 for one in logs)
    tensors = load_file(checkpoint / "published" / "adapter_model.safetensors")
    assert all(bool(torch.isfinite(one).all()) for one in tensors.values())
    if others:
        assert [one["rewards/brevity/failed"] for one in logs] == [0.0, 0.0, 0.0]


def test_for_trl_a_failed_part_is_none_and_its_share_is_logged(own):
    rewards = Rewards({**own(MOODY, "moody", weight=-1.0), **configure({"correctness": 1.0})})
    functions = {name: (weight, function) for name, weight, function in reward_functions(rewards)}
    weight, moody = functions["moody"]
    logged = {}
    call = {
        "prompts": [ASK] * 2,
        "completions": [[{"role": "assistant", "content": text}] for text in ("raise", "7")],
        "completion_ids": [[1], [2]],
        "answer": ["7", "7"],
        "trainer_state": object(),
        "log_extra": print,
        "log_metric": logged.__setitem__,
    }
    assert (weight, moody.__name__, moody(**call)) == (-1.0, "moody", [None, 0.5])
    assert functions["correctness"][1](**call) == [0.0, 1.0]
    assert logged == {"rewards/moody/failed": 0.5, "rewards/correctness/failed": 0.0}


def test_for_trl_a_reward_comes_multiplied_by_its_factor():
    rewards = Rewards(
        configure({"correctness": 1, "brevity": {"weight": 1, "times": "correctness"}})
    )
    functions = {name: function for name, _, function in reward_functions(rewards)}
    completions = [[{"role": "assistant", "content": text}] for text in ("7", "8")]
    scored = functions["brevity"](
        prompts=[ASK] * 2, completions=completions, answer=["7", "7"], trainer_state=object()
    )
    assert scored == pytest.approx([1 - 1 / 200, 0])
