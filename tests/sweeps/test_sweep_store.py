"""Rows of searches: which search is the same, and whose it is."""

from cluster.database.tables import now
from sweeps import run_store
from sweeps.run_store import rows_of
from sweeps.sweep_store import STOPPED, Search, attach, begin
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
