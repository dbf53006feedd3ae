"""What is read of studies in Alignery's database."""

import sqlite3
from contextlib import closing

import optuna
import pytest

from cluster.settings import Settings
from sweeps.study.storage import open_storage, read_trials
from sweeps.study_lock import lock_folder
from tests.odd_names import ODD_NAMES


def test_of_a_study_that_is_not_there_nothing_is_read_and_nothing_is_made(settings):
    assert read_trials(settings, "toy/sft/1-abc") == []
    storage = open_storage(settings)
    assert storage.get_all_studies() == []
    storage.engine.dispose()


def test_trials_of_an_earlier_study_are_left_out_and_unseen_figures_are_put_in(settings):
    storage = open_storage(settings)
    study = optuna.create_study(storage=storage, study_name="toy/sft/1-abc")
    study.add_trial(optuna.create_trial(value=0.1, user_attrs={"from": "toy/sft/0-xyz"}))
    study.add_trial(optuna.create_trial(value=0.2, user_attrs={"rung:10": {"objective": 0.2}}))
    study.set_user_attr("unseen:1", {"metrics": {"objective": 0.3}})
    storage.engine.dispose()
    (trial,) = read_trials(settings, "toy/sft/1-abc")
    assert (trial.number, trial.objective, trial.unseen) == (1, 0.2, {"objective": 0.3})


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_study_lies_in_its_homes_database_whatever_the_homes_name(name, tmp_path):
    settings = Settings(home=tmp_path / name)
    storage = open_storage(settings)
    optuna.create_study(storage=storage, study_name="toy/sft/1-abc")
    storage.engine.dispose()
    with closing(sqlite3.connect(tmp_path / name / "alignery.db")) as database:
        assert database.execute("SELECT study_name FROM studies").fetchall() == [("toy/sft/1-abc",)]
    assert lock_folder(settings) == tmp_path / name / "locks"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_each_database_has_tables_of_its_own(settings, tmp_path):
    other = Settings(database_url=f"sqlite:///{tmp_path}/other.db")
    for one, name in ((settings, "mine"), (other, "others")):
        storage = open_storage(one)
        optuna.create_study(storage=storage, study_name=name)
        assert [study.study_name for study in storage.get_all_studies()] == [name]
        storage.engine.dispose()
