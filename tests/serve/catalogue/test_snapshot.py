"""Names and keys as of a point in time."""

from __future__ import annotations

import pytest

from serve.catalogue import Snapshot, SnapshotSource
from serve.catalogue.snapshot import ref_of
from serve.experiments import VariantSpec
from tests.serve.serve_fakes import BASE

ARMS = (
    VariantSpec(name="control", model="base"),
    VariantSpec(name="treatment", model="arithmetic/sft:2"),
)


@pytest.fixture
def source(adapters, experiments, keys):
    return SnapshotSource(adapters.registry, experiments, keys)


def test_a_version_has_all_of_its_names(source, adapters):
    snapshot = source.read(Snapshot())
    for name in ("arithmetic/sft:1", "arithmetic/sft@champion", "arithmetic/sft"):
        assert snapshot.adapter(name).adapter_id == adapters.first.adapter_id
    assert snapshot.adapter("arithmetic/sft:2").adapter_id == adapters.second.adapter_id
    assert snapshot.adapter("arithmetic/reward") is None  # has no champion
    assert snapshot.adapter("arithmetic/sft:9") is None


def test_while_nothing_changes_there_is_no_new_snapshot(source, adapters, experiments, keys):
    known = source.read(Snapshot())
    assert source.read(known) is known
    changes = (
        lambda: adapters.registry.promote("arithmetic/sft", 2),
        lambda: experiments.start("trial", ARMS, "control", 100),
        lambda: keys.create("website", ["infer"]),
        lambda: keys.revoke("website"),
        lambda: experiments.stop("trial"),
    )
    for change in changes:
        change()
        new = source.read(known)
        assert new is not known
        known = new
    assert known.adapter("arithmetic/sft").adapter_id == adapters.second.adapter_id
    # What has ended is told from what never was.
    assert known.experiments["trial"].state == "stopped" and known.running() == []
    assert [key.name for key in known.keys.values() if key.revoked_at] == ["website"]


def test_champions_and_what_experiments_compare_are_wanted_of_one_base(
    source, experiments, adapters
):
    champion, second = ref_of(adapters.first), ref_of(adapters.second)
    adapters.registry.promote("elsewhere/sft", 1)
    assert source.read(Snapshot()).to_keep(BASE) == (champion,)
    experiments.start("trial", ARMS, "control", 100)
    assert source.read(Snapshot()).to_keep(BASE) == (second, champion)
    adapters.registry.promote("arithmetic/sft", 2)
    assert source.read(Snapshot()).to_keep(BASE) == (second,)
    (other,) = source.read(Snapshot()).to_keep("another-base")
    assert other.name == "elsewhere/sft:1"
