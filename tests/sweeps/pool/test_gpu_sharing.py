"""How many trials share a GPU."""

import json

import pytest

from align.memory.machines import GIB
from align.memory.measured import result_file
from align.recipe import parse_recipe
from cluster.pool import Node
from sweeps.errors import SweepError
from sweeps.pool.gpu_sharing import gpu_shares
from tests.sweeps.toy_recipe import RECIPE


def node(card="T4", cpus=8, gpus=1):
    return Node("a", "a", "", cpus, gpus, card)


@pytest.fixture
def small():
    recipe = parse_recipe({**RECIPE, "base": "smollm2-135m-instruct"})
    for stage in recipe.stages.values():
        stage.max_length = 128
    return recipe


def test_trials_share_a_card_as_far_as_memory_and_cpus_allow(small):
    shares, notes = gpu_shares(small, ["sft"], [node(cpus=64)])
    assert notes == () and 0 < shares["sft"] < 0.5
    assert gpu_shares(small, ["sft"], [node(cpus=2)])[0] == {"sft": 0.5}
    assert gpu_shares(small, ["sft"], [node(cpus=8)], cpus_per_trial=4)[0] == {"sft": 0.5}
    assert gpu_shares(small, ["sft"], [node(cpus=1)])[0] == {"sft": 1.0}


def test_a_card_of_unknown_memory_has_one_trial_and_a_note(small):
    shares, (note,) = gpu_shares(small, ["sft", "reward"], [node("L40S"), node()])
    assert shares == {"sft": 1.0, "reward": 1.0}
    assert note == "the memory of GPUs L40S is not known: one trial a GPU"
    assert "of no named type" in gpu_shares(small, ["sft"], [node(None)])[1][0]


def test_what_does_not_fit_says_what_would(small):
    small.stages["sft"].max_length = 65536
    with pytest.raises(SweepError, match=r"stage 'sft' does not fit a T4: with 65536 tokens"):
        gpu_shares(small, ["sft"], [node()])


def test_adapters_of_other_recipes_are_told_to_be_not_counted(small):
    small.stages["reward"].parent = "other/sft@champion"
    _, notes = gpu_shares(small, ["reward"], [node()])
    assert notes == ("stage 'reward': the memory of other/sft@champion is not counted",)


def test_overheads_that_were_measured_on_the_card_count(small, home):
    before = gpu_shares(small, ["sft"], [node(cpus=64)])[0]
    file = result_file("T4")
    file.parent.mkdir()
    figures = {"context": 3 * GIB, "fragmentation": 0.05}
    file.write_text(json.dumps({"checks": [{"name": "memory", "figures": figures}]}))
    assert gpu_shares(small, ["sft"], [node(cpus=64)])[0]["sft"] > before["sft"]
