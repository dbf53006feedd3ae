"""What commands of sweeps print of rows and tables."""

import json

from sweeps.commands.common import plain_launch, plain_row, plain_sweep, trials_of
from sweeps.study.study_session import StudySession
from sweeps.sweep_store import Search, begin
from tests.sweeps.driving import at


def test_a_sweep_is_json_with_the_trials_that_have_begun(settings, database, recipe, launch):
    row = begin(database, Search(recipe, "sft"), launch=launch("sft").id)
    assert trials_of(settings, row) == []
    with StudySession(settings, database, row.study, recipe.stages["sft"]) as bridge:
        bridge.report(bridge.ask().number, at(0, 0.5))
        bridge.fail(bridge.ask().number, "no room")
    told = json.loads(json.dumps(plain_sweep(settings, database, row)))
    assert (told["line"], told["run"], told["state"]) == ("toy/sft", 1, "running")
    assert [trial["reason"] for trial in told["trials"]] == ["", "no room"]
    assert (told["failed"], told["best"], told["adapter"]) == (1, None, None)
    assert "trials" not in plain_row(row) and plain_row(row).items() <= told.items()


def test_a_launch_is_json_with_why_it_ended(settings, database, launch):
    told = plain_launch(settings, database, launch("sft", state="failed", reason="no room"))
    assert (told["recipe"], told["stages"]) == ("toy", ["sft"])
    assert (told["state"], told["reason"]) == ("failed", "no room")
    assert told["ended_at"] >= told["created_at"]
    assert plain_launch(settings, database, launch("sft"))["ended_at"] is None
