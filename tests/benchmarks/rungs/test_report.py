"""The figures of several stages together."""

import pytest
from rich.console import Console

from benchmarks.rungs.curves import Curve, Measurement, StageCurves
from benchmarks.rungs.report import print_report, summary


@pytest.fixture
def other(ladder):
    """A second stage, whose rungs order its configurations the wrong way round."""

    def turned(point):
        values = {"accuracy": point.values["accuracy"], "implicit_margin": point.values["nll"]}
        return Measurement(values, dict.fromkeys(values, 1.0))

    curves = [
        Curve(
            curve.params, {step: turned(point) for step, point in curve.points.items()}, curve.test
        )
        for curve in ladder.curves
    ]
    return StageCurves("dpo", curves)


def test_figures_are_means_over_stages(ladder, other):
    result = summary([ladder, other], 4)
    rows = [
        row
        for row in result["replays"]
        if (row["strategy"], row["metric"], row["bracket"])
        == ("ours", "rung metric", "synchronous")
    ]
    assert [row["stage"] for row in rows] == ["sft", "dpo"]
    assert result["kept_best"]["ours"] == pytest.approx(sum(row["kept_best"] for row in rows) / 2)
    assert rows[0]["kept_best"] == 1.0 > rows[1]["kept_best"]


def test_options_that_others_choose_are_told_for_each_stage(ladder, other):
    options = summary([ladder, other], 1)["options"]
    fewest = min(row["steps_share"] for row in options["tried"])
    # Without DPO, which its rungs mislead, the fewest steps are best.
    assert options["left_out"]["dpo"]["steps_share"] == pytest.approx(fewest, abs=0.05)
    assert options["left_out"]["dpo"]["kept_best"] < 0.95
    assert options["left_out"]["sft"]["kept_best"] == 1.0
    chosen = next(row for row in options["tried"] if options["chosen"].items() <= row.items())
    assert chosen["kept_best"] == max(row["kept_best"] for row in options["tried"])


def test_stages_alone_have_no_others(ladder):
    console = Console(record=True, width=160)
    print_report(summary([ladder], 1), console)
    text = console.export_text()
    assert "options nearest to the target: alpha " in text
    assert "other stages" not in text
