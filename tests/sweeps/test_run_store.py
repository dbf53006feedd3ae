"""What a launch keeps, and what a name stands for. No Ray, no trials."""

import pytest

from align.recipe import parse_recipe
from cluster.database import open_database
from cluster.database.tables import now
from sweeps import run_store
from sweeps.errors import SweepError, SweepNotFound
from sweeps.run_store import RunOptions, choose, create, find, rows_of, to_resume, update
from sweeps.sweep_store import FINISHED, STOPPED, Search, attach, begin
from sweeps.sweep_store import update as update_row
from tests.sweeps.toy_recipe import RECIPE


@pytest.fixture
def database(settings):
    opened = open_database(settings)
    yield opened
    opened.close()


@pytest.fixture
def launch(database, recipe):
    def make(*stages, recipe=recipe, **fields):
        made = create(database, recipe, stages or recipe.order(), RunOptions())
        return update(database, made.id, **fields) if fields else made

    return make


def test_a_launch_is_kept_as_it_was_asked(database, recipe):
    options = RunOptions(promote=True, labels={"pool": "t4"}, needs={"sft": "toy/sft:3"})
    made = create(database, recipe, ["reward", "grpo"], options, job_id="job-1")
    kept = run_store.read(database, made.id)
    assert (kept.name, kept.state, kept.stages) == ("toy", "running", ["reward", "grpo"])
    assert run_store.recipe_of(kept) == recipe
    assert run_store.options_of(kept) == options
    assert kept.job_id == "job-1" and kept.ended_at is None


def test_what_has_ended_is_asked_nothing(database, launch):
    made = launch(request="stop")
    assert made.request == "stop"
    ended = update(database, made.id, state=FINISHED)
    assert (ended.request, ended.ended_at is not None) == ("", True)
    assert update(database, made.id, state="running").ended_at is None


def test_stages_that_are_searched(recipe):
    assert choose(recipe, None, None) == ["sft", "reward", "grpo"]
    assert choose(recipe, ["grpo", "sft"], None) == ["sft", "grpo"]
    assert choose(recipe, None, "sft") == ["sft", "reward", "grpo"]
    assert choose(recipe, None, "reward") == ["reward", "grpo"]  # by its reward model
    assert choose(recipe, None, "grpo") == ["grpo"]


@pytest.mark.parametrize(
    ("only", "start", "message"),
    [
        (["sft"], "sft", "--from sft and --only sft contradict each other"),
        (["stf"], None, "no stage 'stf'; did you mean 'sft'?"),
        (None, "ppo-x", "no stage 'ppo-x'; it has sft, reward, grpo"),
    ],
)
def test_stages_that_cannot_be(recipe, only, start, message):
    with pytest.raises(SweepError, match=message):
        choose(recipe, only, start)


def test_names(database, recipe, launch):
    with pytest.raises(SweepNotFound, match="no sweep was run yet"):
        find(database, "toy")
    first = launch("sft")
    row = begin(database, Search(recipe, "sft"), launch=first.id)
    second = launch("reward")
    assert find(database).launch.id == find(database, "toy").launch.id == second.id
    line = find(database, "toy/sft")
    assert (line.launch.id, line.row.id) == (first.id, row.id)
    with pytest.raises(SweepNotFound, match=r"no sweep of 'toy/stf'; did you mean 'toy/sft'\?"):
        find(database, "toy/stf")
    with pytest.raises(SweepNotFound, match=r"no sweep of 'toi'.*are sweeps of toy, toy/sft"):
        find(database, "toi")


def test_a_sweep_without_a_launch_is_found_by_its_line(database, recipe):
    row = begin(database, Search(recipe, "sft"))
    assert find(database, "toy/sft").launch is None
    assert find(database).row.id == row.id


def test_what_is_resumed_is_the_newest_that_did_not_finish_and_was_not_replaced(
    database, recipe, launch
):
    other = parse_recipe({**RECIPE, "name": "other"})
    interrupted = launch()  # all stages
    launch("sft", state=FINISHED)
    assert to_resume(database).launch.id == interrupted.id
    assert to_resume(database, "toy").launch.id == interrupted.id
    paused = launch("sft", recipe=other, state="paused")
    assert to_resume(database).launch.id == paused.id
    again = launch(state=FINISHED)
    assert to_resume(database, "toy").launch.id == again.id
    launch("sft", "reward", recipe=other, state=FINISHED)
    assert to_resume(database).launch.state == FINISHED


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


def test_a_data_file_that_changed_is_named(database, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "p", "completion": "c"}\n')
    raw = {**RECIPE, "data": {"path": str(rows)}, "stages": {"sft": RECIPE["stages"]["sft"]}}
    raw["stages"]["sft"] = {**raw["stages"]["sft"], "objective": "nll"}
    changed = parse_recipe(raw)
    files = run_store.files_of(changed, ["sft"])
    assert list(files) == [str(rows)]
    made = create(database, changed, ["sft"], RunOptions(files=files))
    run_store.check_files(made)
    rows.write_text("")
    with pytest.raises(SweepError, match=r"rows\.jsonl has changed since.*`alignery sweep run`"):
        run_store.check_files(made)
    rows.unlink()
    with pytest.raises(SweepError, match="is not there any more"):
        run_store.check_files(made)


def test_stopped_rows_are_begun_again(database, recipe, launch):
    made = launch("sft")
    row = begin(database, Search(recipe, "sft"), launch=made.id)
    assert row.created_at <= now()
    update_row(database, row.id, state=STOPPED)
    assert begin(database, Search(recipe, "sft"), launch=made.id).id == row.id
