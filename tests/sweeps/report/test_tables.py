"""The leaderboard and the tables of a report."""

from dataclasses import replace

from align.evaluation.statistics import Paired
from sweeps.finalists import Entry, Standing
from sweeps.report.tables import leaderboard, leaderboard_rows, rung_rows, timeline_rows, to_csv
from tests.sweeps.reporting import report, stage

GAIN = Paired(0.1, 0.05, 0.15, 200)
STANDING = Standing(
    "test", 200, "accuracy", False, 2, 2,
    (
        Entry("default", 0, 0.5, 0.4, 0.6, {}, True),
        Entry("base", None, 0.55, 0.5, 0.6, {}, True),
        Entry("trial 5", 5, 0.9, 0.8, 1.0, {}, False),
        Entry("trial 2", 2, 0.6, 0.5, 0.7, {}, True, GAIN),
    ),
)  # fmt: skip


def test_systems_on_unseen_items_come_first_and_others_follow_by_validation():
    board = leaderboard(stage(standing=STANDING, chosen=2))
    assert [(one.name, one.place, one.split) for one in board] == [
        ("trial 2", 1, "test"),
        ("base", None, "test"),  # is no trial and takes no place
        ("default", 2, "test"),
        ("trial 5", 3, "test"),  # has the highest objective and breaks a constraint
        ("trial 4", 4, "validation"),
        ("trial 6", 5, "validation"),
        ("trial 1", 6, "validation"),
    ]
    assert [one.name for one in board if one.chosen] == ["trial 2"]


def test_the_lowest_is_first_where_the_objective_is_minimised():
    lowest = stage(standing=replace(STANDING, minimised=True, chosen=0), minimised=True)
    assert [one.name for one in leaderboard(lowest)[:3]] == ["default", "base", "trial 2"]


def test_before_anything_is_measured_on_unseen_items_validation_decides():
    names = [one.name for one in leaderboard(stage())]
    assert names == ["trial 2", "default", "trial 5", "trial 4", "trial 6", "trial 1"]
    assert leaderboard(stage([])) == []


def test_a_row_of_the_leaderboard_has_its_differences():
    first, second, *_ = leaderboard_rows(report(stage(standing=STANDING)))
    assert (first["to_default:difference"], first["to_default:high"]) == (0.1, 0.15)
    assert second["to_default:low"] is None and first["to_parent:low"] is None
    assert first["param:lora.r"] == 16 and "param:lora.r" not in second


def test_there_is_a_row_for_each_measurement_of_each_stage():
    rows = rung_rows(report(stage(), stage(stage="dpo")))
    assert len(rows) == 2 * 13
    assert rows[1] == {"stage": "sft", "trial": 0, "step": 20, "objective": 0.4}
    assert rows[-1]["stage"] == "dpo"


def test_stretches_of_work_are_in_the_order_in_which_they_began():
    def ran(one, began):
        at = {"began": began, "ended": began + 1.5, "node": "a", "worker": "1"}
        return replace(one, ran={"10": at})

    late, early = (ran(one, began) for one, began in zip(stage().trials[:2], (60, 0), strict=True))
    rows = timeline_rows(report(stage([late, early])))
    assert [(one["trial"], one["began"], one["seconds"]) for one in rows] == [
        (1, "1970-01-01T00:00:00.000+00:00", 1.5),
        (0, "1970-01-01T00:01:00.000+00:00", 1.5),
    ]


def test_csv_has_all_columns_of_all_rows_and_quotes_what_needs_it():
    rows = [{"trial": 0, "reason": 'said "no", twice'}, {"trial": 1, "rate": 0.1}]
    assert to_csv(rows, ("stage", "trial")) == (
        'stage,trial,reason,rate\n,0,"said ""no"", twice",\n,1,,0.1\n'
    )
    assert to_csv([], ("stage",)) == "stage\n"
