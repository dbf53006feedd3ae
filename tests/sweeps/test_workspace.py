"""What a trial leaves behind, and where it goes on."""

import pytest
from pyarrow.fs import LocalFileSystem

import cluster.storage
from cluster.settings import Settings
from cluster.storage import RemoteFolders
from sweeps.pool.trainable import next_milestone
from sweeps.pool.workspace import Workspace, discard_checkpoints

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


@pytest.mark.parametrize(
    ("decided", "trained", "measured", "expected"),
    [
        (0, 0, set(), 10),
        (10, 10, {10}, 20),
        (0, 10, {10}, 10),  # measured, but its driver died before it was told
        (0, 10, set(), 10),  # trained, but its worker died before it measured
        (0, 20, set(), 20),
        (20, 30, {30}, 30),
        (20, 30, set(), 30),
        (30, 30, {30}, 30),
    ],
)
def test_the_next_milestone(decided, trained, measured, expected):
    assert next_milestone((10, 20, 30), decided, trained, measured) == expected
