"""What a trial leaves behind, and where it goes on."""

import shutil

import pytest
from pyarrow.fs import LocalFileSystem

import cluster.storage
from cluster.errors import StorageError
from cluster.settings import Settings
from cluster.storage import RemoteFolders, Storage
from sweeps.pool.workspace import Workspace, discard_checkpoints, discard_published

STUDY = "toy/sft/1-abc"


@pytest.fixture(params=["local", "remote"])
def place(request, settings, monkeypatch, tmp_path):
    """Settings of one machine after another, on one storage."""
    if request.param == "local":
        return lambda _machine: settings

    def remote(opened):
        return RemoteFolders(LocalFileSystem(), str(tmp_path / "bucket"), opened.home / "cache")

    monkeypatch.setattr(cluster.storage, "_open", remote)
    return lambda machine: Settings(home=tmp_path / machine, storage="s3://bucket/prefix")


def test_another_machine_goes_on_from_the_newest_checkpoint(place):
    here = Workspace(place("one"), STUDY, 3)
    (here.folder / "step_000010").mkdir()
    (here.folder / "step_000010" / "state").write_text("ten")
    here.keep(10, {"objective": 0.5})
    here.keep(20, {"objective": float("nan")})
    there = Workspace(place("two"), STUDY, 3)
    assert (there.folder / "step_000010" / "state").read_text() == "ten"
    assert set(there.measured()) == {10, 20} and there.measured()[10] == {"objective": 0.5}
    assert Workspace(place("two"), STUDY, 4).measured() == {}


def test_checkpoints_of_ended_trials_free_their_space(place):
    settings = place("one")
    workspace = Workspace(settings, STUDY, 0)
    workspace.keep(10, {"objective": 0.5})
    discard_checkpoints(settings, STUDY, [0, 1])
    assert not workspace.folder.exists()
    assert Workspace(settings, STUDY, 0).measured() == {}


def checkpoint(workspace, step):
    """As a training run leaves it: the older ones are gone."""
    for older in workspace.folder.glob("step_*"):
        shutil.rmtree(older)
    (workspace.folder / f"step_{step:06d}").mkdir()
    (workspace.folder / f"step_{step:06d}" / "state").write_text(str(step))


def test_a_checkpoint_between_milestones_is_there_for_another_machine(place):
    here = Workspace(place("one"), STUDY, 3)
    checkpoint(here, 5)
    here.keep_checkpoint(5)
    checkpoint(here, 8)
    here.keep_checkpoint(8)
    there = Workspace(place("two"), STUDY, 3)
    assert [one.name for one in there.folder.glob("step_*")] == ["step_000008"]
    assert there.measured() == {} and (there.folder / "step_000008" / "state").read_text() == "8"
    checkpoint(there, 10)
    there.keep(10, {"objective": 0.5})
    back = Workspace(place("one"), STUDY, 3)  # its own copy is older
    assert [one.name for one in back.folder.glob("step_*")] == ["step_000010"]
    assert set(back.measured()) == {10}


def test_only_the_newest_upload_stays(place, tmp_path):
    settings = place("one")
    workspace = Workspace(settings, STUDY, 3)
    for step in (5, 8):
        checkpoint(workspace, step)
        workspace.keep_checkpoint(step)
    stored = [one.read_text() for one in tmp_path.rglob("state")]
    assert set(stored) == {"8"}
    Workspace(settings, STUDY, 3)
    assert not list((settings.home / "cache").rglob("state"))  # what was fetched lies once here


def test_a_storage_that_does_not_answer_ends_no_trial(place, monkeypatch):
    workspace = Workspace(place("one"), STUDY, 3)
    checkpoint(workspace, 5)

    def refuse(*_):
        raise StorageError("no route to the bucket")

    monkeypatch.setattr(Storage, "put_folder", refuse)
    workspace.keep_checkpoint(5)
    assert (workspace.folder / "step_000005").is_dir()


def test_a_trial_whose_turn_is_over_frees_the_machine_and_can_go_on(place):
    settings = place("one")
    workspace = Workspace(settings, STUDY, 3)
    checkpoint(workspace, 10)
    workspace.keep(10, {"objective": 0.5})
    workspace.leave()
    assert "://" not in settings.storage or not workspace.folder.exists()
    assert set(Workspace(settings, STUDY, 3).measured()) == {10}


def test_a_worker_that_leaves_a_trial_late_deletes_nothing_of_the_worker_that_goes_on(place):
    settings = place("one")
    before = Workspace(settings, STUDY, 3)
    checkpoint(before, 10)
    before.keep(10, {"objective": 0.5})
    after = Workspace(settings, STUDY, 3)
    checkpoint(after, 15)
    before.leave()
    assert (after.folder / "step_000015" / "state").read_text() == "15"
    after.keep(20, {"objective": 0.6})
    after.leave()
    assert set(Workspace(settings, STUDY, 3).measured()) == {10, 20}


def test_some_checkpoints_can_be_kept(place):
    settings = place("one")
    for number in range(3):
        Workspace(settings, STUDY, number).keep(10, {"objective": 0.5})
    discard_checkpoints(settings, STUDY, range(3), keep={1})
    assert [bool(Workspace(settings, STUDY, number).measured()) for number in range(3)] == [
        False, True, False,
    ]  # fmt: skip


def test_a_trial_that_never_came_to_a_milestone_frees_its_space_too(place):
    settings = place("one")
    workspace = Workspace(settings, STUDY, 0)
    checkpoint(workspace, 5)
    discard_checkpoints(settings, STUDY, [0])
    assert not workspace.folder.exists()


def test_published_adapters_are_discarded_alone(place, tmp_path):
    settings, storage = place("one"), Storage(place("one"))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "file").write_text("weights")
    Workspace(settings, STUDY, 0).keep(10, {"objective": 0.5})
    for number in (0, 1):
        storage.put_folder(tmp_path / "adapter", f"sweeps/{STUDY}/trial_{number}/published")
    discard_published(settings, STUDY, [0, 2])
    assert not storage.exists(f"sweeps/{STUDY}/trial_0/published")
    assert storage.exists(f"sweeps/{STUDY}/trial_1/published")
    assert Workspace(settings, STUDY, 0).measured()


@pytest.mark.parametrize("place", ["remote"], indirect=True)
def test_training_goes_on_elsewhere_from_the_newest_upload(place, recipe, monkeypatch):
    """A machine that is lost between two milestones costs what it trained since `save_steps`."""
    from align.training.trial import Trial

    raw = recipe.model_dump(mode="json")
    raw["data"] |= {"train": 32, "validation": 4, "test": 4}
    raw["evaluation"] |= {"max_new_tokens": 4}
    raw["stages"]["sft"] |= {"max_steps": 6, "save_steps": 2, "per_device_train_batch_size": 2}
    raw["stages"]["sft"]["sweep"] |= {"rungs": []}
    recipe = type(recipe).model_validate(raw)

    def trial(workspace, heard):
        given = {"parent": None, "reward_model": None, "folder": workspace.folder}
        return Trial(recipe, "sft", {}, on_checkpoint=heard, **given)

    class Lost(Exception):
        pass

    here = Workspace(place("one"), STUDY, 0)

    def keep(step):
        here.keep_checkpoint(step)
        if step == 4:
            raise Lost

    with pytest.raises(Lost):
        trial(here, keep).advance(6)
    there = Workspace(place("two"), STUDY, 0)
    other = trial(there, there.keep_checkpoint)
    assert other.step == 4
    resumed = other.advance(6)
    unbroken = Workspace(place("three"), STUDY, 1)
    assert resumed["objective"] == trial(unbroken, unbroken.keep_checkpoint).advance(6)["objective"]
    weights = [
        (one.folder / "step_000006/published/adapter_model.safetensors").read_bytes()
        for one in (there, unbroken)
    ]
    assert weights[0] == weights[1]
