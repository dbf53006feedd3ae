"""A small recipe, settings in a temporary home, and one Ray for the whole session."""

import json

import pytest

from align.recipe import parse_recipe
from cluster.settings import Settings
from tests.sweeps.submitted_project import write_project
from tests.sweeps.toy_recipe import RECIPE


@pytest.fixture(scope="module")  # not longer: other folders' tests start and join Rays themselves
def local_ray(tmp_path_factory):
    """Ray on two CPUs, ended by its own handle."""
    from cluster.ray import ray_session

    with ray_session(Settings(home=tmp_path_factory.mktemp("ray")), num_cpus=2) as address:
        yield address


@pytest.fixture
def settings(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(tmp_path)  # no .env of the developer's
    for name in ("ALIGNERY_DATABASE_URL", "ALIGNERY_STORAGE", "ALIGNERY_RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALIGNERY_HOME", str(home))
    return Settings()


@pytest.fixture
def recipe():
    return parse_recipe(RECIPE)


@pytest.fixture
def behave(settings):
    """Tell the fake trials what to do."""

    def write(**behaviour):
        (settings.home / "behaviour.json").write_text(json.dumps(behaviour))

    return write


@pytest.fixture
def calls(settings):
    """What the fake trials were asked to do, in order."""

    def read(what=None):
        file = settings.home / "calls.jsonl"
        lines = file.read_text().splitlines() if file.is_file() else []
        found = [json.loads(line) for line in lines]
        return [one for one in found if what in (None, one["what"])]

    return read


@pytest.fixture
def project(settings, tmp_path, monkeypatch):
    """A git checkout with a recipe, code, and things that must not travel."""
    folder = tmp_path / "project"
    write_project(folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ALIGNERY_JOBS_ADDRESS", raising=False)
    monkeypatch.setenv("ALIGNERY_HOME", str(settings.home))
    return folder
