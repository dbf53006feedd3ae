"""What ended trials leave in storage."""

from dataclasses import replace
from pathlib import Path

import pytest

from cluster.storage import Storage
from sweeps.cleanup import Leftovers
from sweeps.pool.stage_job import trial_key
from sweeps.trials import TrialSummary

STUDY = "toy/sft/1-abc"
TRIALS = [
    TrialSummary(0, "COMPLETE", {}, 0.5, 30),
    TrialSummary(1, "COMPLETE", {}, 0.9, 30),
    TrialSummary(2, "PRUNED", {}, 0.1, 10),
    TrialSummary(3, "RUNNING", {}, 0.1, 10),
]


@pytest.fixture
def leftovers(settings, recipe, tmp_path):
    """Every trial has left a checkpoint and an adapter."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "weights").write_text("w")
    for one in TRIALS:
        for part in ("checkpoints", "published"):
            Storage(settings).put_folder(folder, trial_key(STUDY, one.number, part))

    def make(rule, objective="accuracy"):
        config = recipe.stages["sft"].model_copy(update={"objective": objective})
        config.sweep.keep_checkpoints = rule
        return Leftovers(settings, STUDY, config)

    return make


def numbers(settings, part):
    root = Path(settings.storage) / "sweeps" / STUDY
    return sorted(int(one.parent.name.removeprefix("trial_")) for one in root.glob(f"*/{part}"))


@pytest.mark.parametrize(("rule", "kept"), [("none", [3]), ("best", [1, 3]), ("all", [0, 1, 2, 3])])
def test_checkpoints_are_kept_as_the_recipe_has_it(leftovers, settings, rule, kept):
    leftovers(rule).trial_ended(TRIALS)
    assert numbers(settings, "checkpoints") == kept
    assert numbers(settings, "published") == [0, 1, 2, 3]


def test_the_best_of_a_minimised_objective_is_the_lowest(leftovers, settings):
    leftovers("best", objective="nll").trial_ended(TRIALS)
    assert numbers(settings, "checkpoints") == [0, 3]


def test_the_best_keeps_to_the_constraints(leftovers, settings):
    broken = replace(TRIALS[1], violation=0.2, feasible=False)
    leftovers("best").trial_ended([TRIALS[0], broken, *TRIALS[2:]])
    assert numbers(settings, "checkpoints") == [0, 3]


def test_published_adapters_go_when_nobody_can_win_with_them(leftovers, settings):
    one = leftovers("none")
    one.trial_ended(TRIALS)
    Storage(settings).put_folder(Path.cwd() / "files", trial_key(STUDY, 2, "checkpoints"))
    one.finished(TRIALS[:3], {0, 1})
    assert numbers(settings, "checkpoints") == [3]  # also what a killed worker wrote late
    assert numbers(settings, "published") == [0, 1, 3]
