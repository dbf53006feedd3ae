"""A report's folder: what may be replaced, and plots as part of a page."""

import re

import pytest
from matplotlib.figure import Figure

from sweeps.errors import SweepError
from sweeps.report.write import check_target, to_svg, write
from tests.sweeps.reporting import report, stage


def test_a_report_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "mine"
    names = write(report(stage(), stage(stage="dpo")), target)
    assert sorted(names) == sorted(one.name for one in target.iterdir())
    assert "dpo-history.png" in names and "trials.csv" in names
    fewer = write(report(), target)
    assert sorted(fewer) == sorted(one.name for one in target.iterdir())
    assert "dpo-history.png" not in fewer
    assert [one.name for one in tmp_path.iterdir()] == ["mine"]  # nothing is left beside it


def test_a_folder_is_written_to_if_nothing_would_be_lost(tmp_path):
    check_target(tmp_path / "new")
    check_target(tmp_path)  # is empty
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SweepError, match="no report of a sweep is in it"):
        check_target(tmp_path)
    with pytest.raises(SweepError, match="is not a folder"):
        check_target(tmp_path / "notes.txt")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SweepError, match="is not a folder"):
        check_target(tmp_path / "link")


def test_a_report_that_something_was_put_into_stays(tmp_path):
    write(report(), tmp_path / "mine")
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(SweepError, match=r"and also notes\.txt, which would be lost"):
        write(report(), tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_plots_of_one_page_share_no_ids_and_follow_its_colours():
    def drawn(name):
        figure = Figure()
        figure.add_subplot().plot([0, 1], [0, 1], color="#1b1f24")
        return to_svg(figure, name)

    first, second = drawn("sft-lr rank"), drawn("dpo-lr rank")
    assert first.startswith("<svg") and "xmlns" not in first
    ids = [set(re.findall(r'\bid="([^"]*)"', svg)) for svg in (first, second)]
    assert all(one.startswith("sft-lr-rank-") for one in ids[0]) and not ids[0] & ids[1]
    used = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', first)
    assert {one or other for one, other in used} <= ids[0]
    assert "var(--ink)" in first and "#1b1f24" not in first
