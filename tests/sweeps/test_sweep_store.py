"""Rows of searches: which search is the same, and whose it is."""

import pytest

from cluster.database.tables import now
from sweeps import run_store
from sweeps.errors import SweepNotFound
from sweeps.run_store import rows_of
from sweeps.sweep_store import (
    FAILED,
    FINISHED,
    STOPPED,
    Search,
    attach,
    begin,
    file_digest,
    finished,
    newest,
    sweeps,
)
from sweeps.sweep_store import update as update_row


def test_a_row_changes_hands_when_it_is_driven_and_forgets_what_was_asked(database, recipe, launch):
    first, second = launch("sft"), launch("sft")
    row = begin(database, Search(recipe, "sft"), launch=first.id)
    update_row(database, row.id, request="stop")
    assert begin(database, Search(recipe, "sft"), launch=second.id).launch_id == first.id
    attach(database, "toy/sft", row.run, second.id)
    assert rows_of(database, first) == []
    (mine,) = rows_of(database, second)
    assert (mine.id, mine.request) == (row.id, "")


def test_a_fresh_launch_begins_each_sweep_anew_but_once(database, recipe, launch):
    old = begin(database, Search(recipe, "sft"))
    made = launch("sft")
    fresh = begin(database, Search(recipe, "sft"), fresh=True, launch=made.id)
    assert fresh.run == old.run + 1
    assert begin(database, Search(recipe, "sft"), fresh=True, launch=made.id).run == fresh.run


def test_the_name_of_a_parent_is_not_part_of_a_search_its_id_is(recipe):
    named = run_store.with_needs(recipe, {"sft": "toy/sft:1"})
    assert named.stages["reward"].parent == "toy/sft:1"
    assert named.stages["grpo"].reward_model == "reward"
    one, other = "1" * 64, "2" * 64
    assert Search(named, "reward", one).digest == Search(recipe, "reward", one).digest
    assert Search(named, "reward", one).digest != Search(recipe, "reward", other).digest


def test_what_may_change_while_a_search_goes_on(recipe):
    digest = Search(recipe, "sft").digest
    for field, value in {
        "trials": 9,
        "finalists": 1,
        "retries": 4,
        "keep_checkpoints": "all",
    }.items():
        setattr(recipe.stages["sft"].sweep, field, value)
    assert Search(recipe, "sft").digest == digest
    recipe.stages["sft"].sweep.seed = 4
    assert Search(recipe, "sft").digest != digest


def test_stopped_rows_are_begun_again(database, recipe, launch):
    made = launch("sft")
    row = begin(database, Search(recipe, "sft"), launch=made.id)
    assert row.created_at <= now()
    update_row(database, row.id, state=STOPPED)
    assert begin(database, Search(recipe, "sft"), launch=made.id).id == row.id


def test_rows_of_a_line_are_oldest_first_and_its_newest_is_the_last(database, recipe):
    first = begin(database, Search(recipe, "sft"))
    second = begin(database, Search(recipe, "sft"), fresh=True)
    other = begin(database, Search(recipe, "reward"))
    assert [one.id for one in sweeps(database)] == [first.id, second.id, other.id]
    assert [one.id for one in sweeps(database, "toy/sft")] == [first.id, second.id]
    assert newest(database).id == other.id and newest(database, "toy/sft").id == second.id
    with pytest.raises(
        SweepNotFound, match=r"'toy/stf'; did you mean 'toy/sft'.*toy/reward, toy/sft"
    ):
        newest(database, "toy/stf")


def test_the_newest_finished_row_is_told_from_what_came_since(database, recipe):
    first = begin(database, Search(recipe, "sft"))
    with pytest.raises(SweepNotFound, match="has finished; the newest is running"):
        finished(database, "toy/sft")
    update_row(database, first.id, state=FINISHED)
    begin(database, Search(recipe, "sft"), fresh=True)
    assert finished(database, "toy/sft").id == first.id


def test_time_adds_up_and_an_end_forgets_what_was_asked(database, recipe):
    row = begin(database, Search(recipe, "sft"))
    update_row(database, row.id, seconds=1.5, request="stop")
    ended = update_row(database, row.id, seconds=2.0, state=FINISHED)
    assert (ended.seconds, ended.request) == (3.5, "") and ended.finished_at is not None
    assert update_row(database, row.id, state=STOPPED).finished_at is None


def test_a_search_that_failed_is_begun_anew(database, recipe):
    row = begin(database, Search(recipe, "sft"))
    update_row(database, row.id, state=FAILED)
    again = begin(database, Search(recipe, "sft"))
    assert (again.run, again.digest) == (row.run + 1, row.digest)


def test_a_file_is_known_by_its_content(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text("rows")
    assert file_digest(str(tmp_path / "one")) == file_digest(str(tmp_path / "two"))
    (tmp_path / "two").write_text("other rows")
    assert file_digest(str(tmp_path / "one")) != file_digest(str(tmp_path / "two"))
    assert file_digest(None) is None and file_digest(str(tmp_path / "three")) is None
