"""The page of a report, of figures that are made here."""

from dataclasses import replace

from align.evaluation.statistics import Paired
from sweeps.finalists import Entry, Standing
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


def standing(chosen, *systems, **fields):
    return Standing("test", 200, "accuracy", False, chosen, 2, systems, **fields)


def entry(name, number, **fields):
    return Entry(name, number, 0.5, 0.4, 0.6, {}, fields.pop("feasible", True), **fields)


def lead(text):
    """The part of the page before the table of stages."""
    return text.partition(">Stages</h2>")[0].partition("<main>")[2]


def test_the_page_leads_with_the_gain_its_certainty_and_its_cost():
    gain, more = Paired(0.045, 0.01, 0.08, 200), Paired(0.4, 0.3, 0.5, 200)
    won = standing(
        2,
        entry("default", 0),
        entry("trial 2", 2, against_default=gain, against_base=more),
        probability=0.973,
    )
    text = lead(page(report(stage(standing=won, chosen=2, seconds=2280.0)), {}, ()))
    assert "Trial 2 over the default: accuracy +4.5 (+1.0 to +8.0) points, shown better" in text
    assert "probability of 97 %" in text
    assert "Over the base: +40.0" in text and "Over the parent" not in text
    assert "38 min" in text and "+4.5 points for 38 min" in text and "USD" not in text
    priced = stage(
        [trial(2, "COMPLETE", {10: 0.5}, seconds=1800.0)], standing=won, usd_per_hour=0.5
    )
    assert "0.5 worker-hours, 0.25 USD" in lead(page(report(priced), {}, ()))


def test_a_default_that_is_as_good_is_said_as_plainly():
    less = Paired(-0.01, -0.05, 0.03, 200)
    lost = standing(
        0, entry("default", 0), entry("trial 2", 2, against_default=less), probability=0.2
    )
    text = lead(page(report(stage(standing=lost, chosen=0)), {}, ()))
    assert "The default is as good: no tried configuration was shown better" in text
    assert "trial 2, has accuracy -1.0 (-5.0 to +3.0) points to it" in text
    alone = standing(0, entry("default", 0))
    text = lead(page(report(stage(standing=alone, chosen=0)), {}, ()))
    assert "The default won: no other configuration was compared on unseen items." in text


def test_what_is_not_known_of_the_gain_is_said():
    text = lead(page(report(stage()), {}, ()))
    assert "No finalist was measured on unseen items" in text
    assert "Nothing has been measured yet" in lead(page(report(stage([])), {}, ()))
    older = standing(2, entry("default", 0), entry("trial 2", 2, feasible=False))
    text = lead(page(report(stage(standing=older, chosen=2)), {}, ()))
    assert "how it compares with the default on unseen items is not known" in text
    assert "probability" not in text
    broken = standing(
        2,
        entry("trial 2", 2, feasible=False, against_default=Paired(0.1, 0.05, 0.15, 200)),
    )
    text = lead(page(report(stage(standing=broken, chosen=2)), {}, ()))
    assert "it breaks a constraint" in text and "probability" not in text
