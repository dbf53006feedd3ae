"""What a launch keeps, and what a name stands for. No Ray, no trials."""

import pytest

from align.recipe import parse_recipe
from sweeps import run_store
from sweeps.errors import SweepError, SweepNotFound
from sweeps.run_store import RunOptions, choose, create, find, to_resume, update
from sweeps.sweep_store import FINISHED, Search, begin
from tests.sweeps.toy_recipe import RECIPE


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
