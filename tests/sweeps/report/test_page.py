"""The page of a report, of figures that are made here."""

from dataclasses import replace

from sweeps.report.page import GENERATOR, page, plots
from tests.sweeps.reporting import report, stage, trial


def test_a_stage_has_plots_of_what_was_measured():
    assert set(plots(report(stage()))) == {
        "sft-history", "sft-curves", "sft-parallel", "sft-lr-rank", "sft-rungs",
    }  # fmt: skip
    assert plots(report(stage([]))) == {}
    both = plots(report(stage(), stage(stage="dpo")))
    assert {name.partition("-")[0] for name in both} == {"sft", "dpo"}


def test_plots_stand_where_they_are_and_files_are_named():
    text = page(report(stage()), {"sft-history": "<svg id='mine'></svg>"}, ("trials.csv",))
    assert "<svg id='mine'></svg>" in text and "trials.csv" in text
    assert GENERATOR in text[:2000]  # by which a report's folder is known
    assert "Learning curves" not in text  # there is no such plot


def test_whatever_a_worker_said_is_no_markup():
    failed = trial(0, "FAIL", {}, reason="<script>alert(1)</script>")
    text = page(replace(report(stage([failed])), name="a & <b>"), {}, ())
    assert "<script>" not in text and "&lt;script&gt;alert(1)" in text
    assert "Sweep a &amp; &lt;b&gt;" in text


def test_remarks_on_rows_and_warnings_are_listed():
    remarks = ("2 of 9 train rows are cut (row 3 '<b>')", "trial 1 warned: a step was skipped")
    text = page(report(stage(remarks=remarks)), {}, ())
    assert "Rows and warnings" in text and "trial 1 warned: a step was skipped" in text
    assert "(row 3 &#39;&lt;b&gt;&#39;)" in text
    assert "Rows and warnings" not in page(report(stage()), {}, ())


def test_what_has_not_begun_is_told():
    waiting = replace(report(), waiting=("reward", "grpo"))
    assert "reward, grpo" in page(waiting, {}, ())
    assert "No stage has begun yet" in page(report(), {}, ())
    assert "Nothing has been measured yet" in page(report(stage([])), {}, ())
    assert "Nothing is searched" in page(report(stage(parameters=())), {}, ())
