"""A small recipe, settings in a temporary home, and one Ray for the whole session."""

import json

import pytest

from align.adapters import Manifest, adapter_id, write_manifest
from align.recipe import parse_recipe
from cluster.database import open_database
from cluster.registry import open_registry
from cluster.settings import Settings
from sweeps.run_store import RunOptions, create, update
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
def database(settings):
    opened = open_database(settings)
    yield opened
    opened.close()


@pytest.fixture
def launch(database, recipe):
    """Begin a launch of the recipe, or of some of its stages; fields are the row's."""

    def make(*stages, recipe=recipe, **fields):
        made = create(database, recipe, stages or recipe.order(), RunOptions())
        return update(database, made.id, **fields) if fields else made

    return make


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


@pytest.fixture
def register(settings, tmp_path):
    """Register a new version of a line, as another recipe would; fields are the manifest's."""

    def write(line, **fields):
        registry = open_registry(settings)
        folder = tmp_path / f"{line.replace('/', '-')}-{len(registry.versions(line))}"
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({"r": 8}))
        (folder / "adapter_model.safetensors").write_bytes(folder.name.encode())
        made = {"base": "tiny-random", "base_digest": "0" * 64, "method": "sft", "rank": 8} | fields
        write_manifest(folder, Manifest(id=adapter_id(folder), line=line, **made))
        return registry.register(line, folder)

    return write
