"""A job as its workers get it, and where they put what they make."""

import json

import pytest

from align.recipe import parse_recipe
from align.training.trial import Trial
from benchmarks.scaling.stand_in import StandIn
from cluster.storage import Storage
from sweeps.pool.stage_job import (
    StageJob,
    TrialProtocol,
    adapter_folder,
    portable,
    read_unseen,
    trial_key,
    unseen_key,
)
from tests.sweeps.fake_trial import FakeTrial
from tests.sweeps.toy_recipe import FAKE, RECIPE


def job(settings, **fields):
    recipe = parse_recipe(RECIPE)
    return StageJob(settings=portable(settings), recipe=recipe, stage="sft", study="s", **fields)


def test_a_job_arrives_as_it_was_sent(settings):
    sent = job(settings, gpus=0.25, parent_id="1" * 64)
    assert StageJob.model_validate_json(sent.model_dump_json()) == sent


def test_a_worker_opens_the_drivers_settings_whatever_its_environment_says(settings, monkeypatch):
    sent = job(settings)
    monkeypatch.setenv("ALIGNERY_HOME", "/elsewhere")
    monkeypatch.setenv("ALIGNERY_DATABASE_URL", "sqlite:////elsewhere/alignery.db")
    assert sent.open_settings() == settings


def test_finalists_are_measured_by_the_module_that_trains(settings):
    assert job(settings).measure == "align.training.test_evaluation:measure_unseen"
    assert job(settings, factory=FAKE).measure == "tests.sweeps.fake_trial:measure_unseen"


def test_keys_tell_studies_trials_and_systems_apart():
    assert trial_key("toy/sft/1-abc", 4, "published") == "sweeps/toy/sft/1-abc/trial_4/published"
    assert unseen_key("toy/sft/1-abc", "trial 4") == "sweeps/toy/sft/1-abc/unseen/trial_4"


def test_figures_on_unseen_items_are_read_where_they_are(settings, tmp_path):
    storage, key = Storage(settings), unseen_key("s", "base")
    assert read_unseen(storage, key) is None
    (tmp_path / "measured").mkdir()
    (tmp_path / "measured" / "metrics.json").write_text(json.dumps({"objective": 0.5}))
    storage.put_folder(tmp_path / "measured", key)
    assert read_unseen(storage, key) == {"objective": 0.5}


def test_a_stage_that_builds_on_nothing_has_no_folder(settings):
    assert adapter_folder(Storage(settings), None) is None


@pytest.mark.parametrize("trial", [Trial, StandIn, FakeTrial])
def test_every_trial_has_what_a_worker_calls(trial):
    """A worker that calls a missing member would be replaced, and its trial tried again."""
    members = {name for name in vars(TrialProtocol) if not name.startswith("_")}
    assert {"advance", "publish", "rung_values"} <= members
    names = set(dir(trial)) | set(trial.__init__.__code__.co_names)
    assert members <= names
