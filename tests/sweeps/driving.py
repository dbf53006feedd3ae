"""A study driven without workers: a known objective, and what a person would look at."""

import copy
import math

from align.recipe import parse_recipe
from sweeps.study.study_session import StudySession
from sweeps.trials import Milestone

STUDY = "toy/sft/1-abc"
STEPS = (10, 20, 30)

STAGE = {
    "method": "sft",
    "learning_rate": {"loguniform": [1e-5, 1e-1], "default": 1e-3},
    "lora": {"r": {"choice": [4, 8, 16], "default": 8}, "lora_alpha": "2 * r"},
    "max_steps": 30,
    "objective": "accuracy",
}


def recipe_with(stage=None, name="toy", base="tiny-random", **sweep):
    """A recipe of one stage, searched as `sweep` says."""
    raw = copy.deepcopy(STAGE) | (stage or {})
    raw["sweep"] = {"trials": 4, "rungs": [10, 20], "seed": 3, "sampler": "random"}
    raw["sweep"] |= {"pruner": "successive_halving", **sweep}
    raw = {name: value for name, value in raw.items() if value is not None}
    return parse_recipe(
        {"name": name, "base": base, "data": {"task": "arithmetic"}, "stages": {"sft": raw}}
    )


def stage_with(stage=None, **sweep):
    """Its stage."""
    return recipe_with(stage, **sweep).stages["sft"]


def at(index, objective, steps=STEPS, **metrics):
    """The milestone `index` of a trial."""
    found = {"objective": objective, "accuracy": 0.5, "seconds": 2.0, **metrics}
    return Milestone(steps[index], steps[-1], index, found)


def value(params, index):
    """Best at a learning rate of 1e-3 and a large rank; grows with training."""
    distance = abs(math.log10(params["learning_rate"]) + 3)
    return (1.0 - 0.2 * distance + 0.001 * params.get("lora.r", 8)) * (index + 1) / 3


def run(bridge, assignment, measure=value):
    """One trial to its end, from where it was left."""
    first = sum(step <= assignment.decided for step in STEPS)
    for index in range(first, len(STEPS)):
        if not bridge.report(assignment.number, at(index, measure(assignment.params, index))):
            return


def run_all(bridge, measure=value):
    """All trials, one after the other; what the study then holds."""
    while (assignment := bridge.ask()) is not None:
        run(bridge, assignment, measure)
    return bridge.trials()


def told(trials):
    """What must not depend on how often a driver was killed."""
    # As text, since NaN is not equal to NaN.
    return [(one.number, one.state, one.params, str(one.rungs), one.reason) for one in trials]


def search(settings, database, stage, study=STUDY, measure=value):
    """A whole search in one go."""
    with StudySession(settings, database, study, stage) as bridge:
        return run_all(bridge, measure)


def publish(settings, recipe, study, trial, tmp_path):
    """What a worker leaves of a complete trial."""
    from cluster.storage import Storage
    from sweeps.pool.stage_job import trial_key
    from tests.sweeps.fake_trial import FakeTrial

    folder = tmp_path / f"trial_{trial.number}"
    (folder / "work").mkdir(parents=True)
    given = {"parent": None, "reward_model": None, "folder": folder / "work"}
    fake = FakeTrial(recipe, "sft", trial.params, **given)
    fake.publish(folder / "published", {"objective": 0.5})
    key = trial_key(study, trial.number, "published")
    Storage(settings).put_folder(folder / "published", key)
