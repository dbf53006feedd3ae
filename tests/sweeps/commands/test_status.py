"""`alignery sweep status`, `best` and `list`, as typed, of a study that is made here."""

import json

import pytest
from typer.testing import CliRunner

import alignery
from align.evaluation.examples import Example
from align.recipe import load_recipe
from sweeps.finalists import SystemResult, standing
from sweeps.run_store import add_remark
from sweeps.study.study_session import StudySession
from sweeps.sweep_store import FINISHED, Search, begin, update
from sweeps.trials import TrialSummary
from tests.sweeps.driving import at

STANDING = {
    "split": "test", "items": 200, "measure": "accuracy", "minimised": False,
    "chosen": 1, "searched_best": 1,
    "systems": [
        {
            "name": "trial 1", "number": 1, "objective": 0.61, "low": 0.55, "high": 0.67,
            "metrics": {}, "feasible": True, "against_parent": None, "items": 200,
            "against_default": {"difference": 0.1, "low": 0.02, "high": 0.18},
        },
        {
            "name": "default", "number": 0, "objective": 0.51, "low": None, "high": None,
            "metrics": {}, "feasible": False, "against_default": None, "against_parent": None,
            "items": 200,
        },
    ],
}  # fmt: skip


@pytest.fixture
def row(settings, database, recipe, launch):
    """A sweep with two complete trials and one that failed."""
    made = begin(database, Search(recipe, "sft"), launch=launch("sft", "reward").id)
    config = recipe.stages["sft"]
    config.sweep.rungs = []
    with StudySession(settings, database, made.study, config) as bridge:
        for objective in (0.5, 0.625):
            bridge.report(bridge.ask().number, at(2, objective))
        bridge.fail(bridge.ask().number, "loss is NaN")
    return made


def call(*arguments):
    result = CliRunner().invoke(alignery.app, ["sweep", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def words(text, first):
    """The words of the line that begins with this."""
    (line,) = (line for line in text.splitlines() if line.startswith(first))
    return line.split()


def test_remarks_are_below_the_trials(database, row):
    assert json.loads(call("status", "toy/sft", "--json"))["sweeps"][0]["remarks"] == []
    add_remark(database, row.launch_id, "sft", "2 of 9 train rows are cut")
    assert "- 2 of 9 train rows are cut" in call("status", "toy/sft").splitlines()
    shown = json.loads(call("status", "toy/sft", "--json"))
    assert shown["sweeps"][0]["remarks"] == ["2 of 9 train rows are cut"]


def test_each_trial_is_a_line_beside_the_default(row):
    text = call("status", "toy/sft")
    assert "toy/sft sweep 1: running, 0 s" in text
    titles = words(text, "trial")
    assert titles[:5] == ["trial", "state", "step", "rank", "lr"] and "violation" not in titles
    assert words(text, "0 ")[:5] == ["0", "COMPLETE", "30", "8", "0.001"]
    assert "+0.125" in words(text, "1 ") and "0.625" in words(text, "1 ")
    assert words(text, "2 ")[1] == "FAIL" and "loss is NaN" in text


def test_of_a_run_it_is_told_what_has_not_begun(row):
    text = call("status", "toy")
    assert text.startswith("toy: ") and "not begun: reward" in text
    assert "not begun" in call("status", "toy/sft")


def test_the_standing_on_unseen_items_marks_the_chosen(row, database):
    update(database, row.id, state=FINISHED, best_trial=1, unseen=STANDING)
    text = call("status", "toy/sft")
    assert "on 200 unseen items (test), accuracy:" in text
    (line,) = (line for line in text.splitlines() if line.startswith("trial 1 * "))
    told = " ".join(line.split()[3:])
    assert told == "61.0 % 55.0 to 67.0 % 200 +10.0 (+2.0 to +18.0) points"
    assert "51.0 %, breaks a constraint" in text
    assert "trial 1 to the default, accuracy +10.0 (+2.0 to +18.0) points: better" in text
    assert words(text, "1 ")[1:3] == ["COMPLETE", "*"]


def test_a_finished_sweep_leads_with_its_answer(row, database):
    update(database, row.id, state=FINISHED, best_trial=1, unseen=STANDING, seconds=120.0)
    _, first, *_ = call("status", "toy/sft").partition("sweep 1:")[2].splitlines()
    assert first.startswith("Trial 1 over the default: accuracy +10.0 (+2.0 to +18.0) points")
    answer = json.loads(call("status", "toy/sft", "--json"))["sweeps"][0]["answer"]
    assert answer["over_default"]["difference"] == pytest.approx(0.1)
    assert answer["seconds"] == 120.0 and first in answer["text"]
    assert answer["over_default"]["probability"] is None  # of a version that stored none


def test_nothing_right_is_not_certainly_nothing_right(row, database):
    """Of 16 wrong answers each, the intervals are Wilson's and Newcombe's, not 0 to 0."""
    systems = [
        SystemResult(name, number, {"objective": 0.0}, rows)
        for name, number in (("default", 0), ("trial 1", 1))
        for rows in [[wrong(str(item)) for item in range(16)]]
    ]
    trials = [TrialSummary(number, "COMPLETE", {}, 0.5, 30) for number in (0, 1)]
    found = standing(systems, trials, stage_config(), 1)
    update(database, row.id, state=FINISHED, best_trial=1, unseen=found.plain())
    text = call("status", "toy/sft")
    assert "0.0 %" in text and "0.0 to 19.4 %" in text
    assert "0 to 0" not in text.replace("0.0 to 19.4", "")
    stored = json.loads(call("status", "toy/sft", "--json"))["sweeps"][0]["unseen"]
    assert stored["systems"][1]["high"] == pytest.approx(0.1936, abs=1e-4)


def test_of_an_earlier_version_resampled_zeros_are_not_certain(row, database):
    """It stored intervals of resampled items, and no numbers of items."""
    zeros = {"objective": 0.0, "low": 0.0, "high": 0.0}
    older = [
        {name: value for name, value in {**system, **zeros}.items() if name != "items"}
        for system in STANDING["systems"]
    ]
    older[0]["against_default"] = {"difference": 0.0, "low": 0.0, "high": 0.0}
    update(database, row.id, state=FINISHED, best_trial=1, unseen={
        **STANDING, "items": 16, "systems": older,
    })  # fmt: skip
    text = call("status", "toy/sft")
    assert "0.0 to 19.4 %" in text and "+0.0 points (no spread in 16 items)" in text


def test_a_difference_that_is_not_shown_is_called_so(row, database):
    gain = {
        "difference": 3 / 64, "low": -0.06, "high": 0.15, "count": 64, "higher": 8, "lower": 5,
        "p_value": 0.58105,
    }  # fmt: skip
    chosen = {**STANDING["systems"][0], "against_default": gain, "items": 64}
    unseen = {**STANDING, "systems": [chosen, STANDING["systems"][1]]}
    update(database, row.id, state=FINISHED, best_trial=1, unseen=unseen)
    assert (
        "trial 1 to the default, accuracy +4.7 (-6.0 to +15.0) points: not shown to differ: "
        "8 of 64 items higher, 5 lower, p = 0.58"
    ) in call("status", "toy/sft")


def wrong(key):
    return Example("answers", key, "test", key, numbers={"accuracy": 0.0})


def stage_config():
    return load_recipe("arithmetic-smoke").stages["sft"]


def test_as_json_it_is_what_the_study_holds(row):
    told = json.loads(call("status", "--json"))
    (sweep,) = told["sweeps"]
    assert told["launch"]["stages"] == ["sft", "reward"]
    assert [trial["state"] for trial in sweep["trials"]] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert (sweep["failed"], sweep["pruned"], sweep["adapter"], sweep["best"]) == (1, 0, None, None)


def test_runs_and_sweeps_are_listed_beside_each_other(row):
    told = json.loads(call("list", "--json"))
    assert [one["recipe"] for one in told["launches"]] == ["toy"]
    assert [(one["line"], one["run"], one["launch"]) for one in told["sweeps"]] == [
        ("toy/sft", 1, told["launches"][0]["id"])
    ]
    assert words(call("list"), "toy/sft")[:3] == ["toy/sft", "1", "1"]


def test_without_a_finished_sweep_there_is_no_best(row):
    result = CliRunner().invoke(alignery.app, ["sweep", "best", "toy/sft"])
    assert result.exit_code == 2
    assert "no sweep of 'toy/sft' has finished; the newest is running" in result.stderr
