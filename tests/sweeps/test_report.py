"""The report of a sweep, on studies that are made here. No Ray, no trials."""

import csv
import html.parser
import json
import re

import optuna
import pytest
from optuna.trial import TrialState
from typer.testing import CliRunner

import alignery
from align.recipe import parse_recipe
from sweeps import run_store
from sweeps.study.distributions import distribution
from sweeps.study.storage import open_storage
from sweeps.sweep_store import FINISHED, Search, begin
from sweeps.sweep_store import update as update_row
from tests.sweeps.toy_recipe import RECIPE

BEGAN = 1_790_000_000.0
LAST = 30
#: Rank, exponent of the learning rate, objectives by step, state, and when it began: of trial n.
TRIALS = [
    (8, -3.0, {10: 0.30, 20: 0.42, 30: 0.50}, "COMPLETE", 0),
    (4, -4.5, {10: 0.12}, "PRUNED", 0),
    (16, -2.2, {10: 0.41, 20: 0.52, 30: 0.58}, "COMPLETE", 15),
    (8, -1.2, {}, "FAIL", 70),
    (16, -2.6, {10: 0.44, 20: 0.55, 30: 0.63}, "COMPLETE", 90),
    (4, -3.4, {10: 0.28}, "PRUNED", 80),
    (16, -3.1, {10: 0.40, 20: 0.41}, "PRUNED", 100),
    (8, -2.4, {10: 0.43, 20: 0.53, 30: 0.615}, "COMPLETE", 150),
    (16, -1.8, {10: 0.38}, "PRUNED", 140),
    (8, -2.0, {10: 0.42, 20: 0.50, 30: 0.57}, "COMPLETE", 170),
    (4, -2.5, {10: 0.35}, "FAIL", 230),
    (16, -2.5, {10: 0.45}, "RUNNING", 250),
]


class Page(html.parser.HTMLParser):
    """The page as a browser reads it: addresses, ids, rows of tables, and text."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.ids, self.rows, self.text, self.tags = [], [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("href", "src", "xlink:href")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def make_study(settings, row, stage, trials=TRIALS):
    """A study as the pool would have left it, two workers on one node and one on another."""
    spaces = {name: distribution(space) for name, space in stage.space().items()}
    storage = open_storage(settings)
    study = optuna.create_study(storage=storage, study_name=row.study, direction="maximize")
    for number, (rank, power, rungs, state, began) in enumerate(trials):
        attrs, at = {}, BEGAN + began
        node, worker = (("node-a", "11"), ("node-a", "12"), ("node-b", "7"))[number % 3]
        for step, objective in rungs.items():
            attrs[f"rung:{step}"] = {"objective": objective, "seconds": 20.0, "length": 50.0}
            ran = {"began": at, "ended": at + 20, "node": node, "worker": worker}
            attrs[f"ran:{step}"] = ran
            at += 21
        if state == "FAIL":
            attrs["reason"] = "CUDA <out of memory> & more"
        params = {"learning_rate": 10.0**power, "lora.r": rank}
        given = {name: params[name] for name in spaces}
        study.add_trial(
            optuna.create_trial(
                state=TrialState[state],
                value=rungs[LAST] if state == "COMPLETE" else None,
                params=given,
                distributions=spaces,
                user_attrs=attrs,
                intermediate_values=rungs,
            )
        )
    ran = {"began": BEGAN + 300, "ended": BEGAN + 330, "node": "node-a", "worker": "12"}
    if trials is TRIALS:
        study.set_user_attr("unseen:4", {"metrics": {"objective": 0.61}, "ran": ran})
    storage.engine.dispose()


def system(name, number, objective, gain=None):
    return {
        "name": name,
        "number": number,
        "objective": objective,
        "low": objective - 0.05,
        "high": objective + 0.05,
        "metrics": {"objective": objective},
        "feasible": True,
        "against_default": gain and {"difference": gain, "low": gain - 0.04, "high": gain + 0.04},
        "against_parent": None,
        "items": 200,
    }


STANDING = {
    "split": "test",
    "items": 200,
    "measure": "accuracy",
    "minimised": False,
    "chosen": 7,
    "searched_best": 4,
    "systems": [
        system("trial 4", 4, 0.59, 0.08),
        system("trial 7", 7, 0.61, 0.1),
        system("default", 0, 0.51),
        system("base", None, 0.22),
    ],
}


@pytest.fixture
def sweep(settings, database, recipe):
    """A launch of the recipe and the sweep of its first stage."""

    def make(trials=TRIALS, recipe=recipe, standing=STANDING, **fields):
        launch = run_store.create(database, recipe, recipe.order(), run_store.RunOptions())
        row = begin(database, Search(recipe, "sft"), launch=launch.id)
        if trials is not None:
            make_study(settings, row, recipe.stages["sft"], trials)
        if standing is not None:
            fields |= {"unseen": standing, "best_trial": standing["chosen"], "state": FINISHED}
        return update_row(database, row.id, seconds=330.0, **fields)

    return make


@pytest.fixture
def report(settings):
    """Call the command; what it prints as JSON."""

    def invoke(*arguments, code=0):
        result = CliRunner().invoke(alignery.app, ["sweep", "report", *arguments])
        assert result.exit_code == code, result.output
        return result.stderr if code else result.stdout

    return invoke


def rows(folder, name):
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_report_tells_everything_in_one_page(sweep, report, tmp_path):
    sweep()
    told = json.loads(report("--json"))
    folder = tmp_path / "report-toy"
    assert told["page"] == "report-toy/index.html" and told["stages"] == ["sft"]
    assert sorted(told["files"]) == sorted(one.name for one in folder.iterdir())
    pngs = sorted(one.name for one in folder.glob("*.png"))
    plots = ("curves", "history", "importances", "lr-rank", "parallel", "rungs", "timeline")
    assert pngs == [f"sft-{name}.png" for name in plots]
    assert all((folder / one).read_bytes().startswith(b"\x89PNG") for one in pngs)

    text = (folder / "index.html").read_text()
    page = Page(text)
    assert "http" not in text and "@import" not in text  # nothing is fetched
    assert all(one.startswith(("#", "data:")) for one in page.addresses)
    assert {one[1:] for one in page.addresses if one.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == len(plots) and "script" not in page.tags
    assert "CUDA <out of memory> & more" in page.text  # and no tag of it
    assert "Not begun: reward, grpo" in page.text
    assert "loguniform" in page.text and "optuna" in page.text  # recipe, packages
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    svg = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "var(--ink)" in svg and "#1b1f24" not in svg and "DOCTYPE" not in svg


def test_the_leaderboard_has_unseen_figures_first(sweep, report, tmp_path):
    sweep()
    report()
    page = Page((tmp_path / "report-toy" / "index.html").read_text())
    board = [[cell.strip() for cell in row] for row in page.rows]
    start = next(at for at, row in enumerate(board) if row[:2] == ["", "system"])
    names = [row[1] for row in board[start + 1 : start + 8]]
    assert names == [
        "trial 7, chosen", "trial 4", "default (trial 0)", "base", "trial 2", "trial 9",
        "trial 6, pruned",
    ]  # fmt: skip
    first, fifth = board[start + 1], board[start + 5]
    assert first[2:7] == [
        "61.0 %", "56.0 to 66.0 %", "200", "unseen (test)", "+10.0 (+6.0 to +14.0) points",
    ]  # fmt: skip
    assert fifth[2:7] == ["58.0 %", "", "", "validation", ""]
    stages = next(row for row in board if row[:2] == ["sft", "finished"])
    assert stages[3] == "7" and stages[5] == "61.0 % (56.0 to 66.0) of 200 items"
    default, parent, base = stages[6:9]
    assert default == "51.0 % (46.0 to 56.0) of 200 items" and parent == "–"
    assert base == "22.0 % (17.0 to 27.0) of 200 items"
    told = "trial 7 to the default, accuracy +10.0 (+6.0 to +14.0) points: better on 200 items."
    assert told in (tmp_path / "report-toy" / "index.html").read_text()
    assert stages[9:12] == ["12 of 12", "4", "2"]


def test_the_tables_hold_what_the_study_holds(sweep, report, tmp_path):
    sweep()
    report("toy/sft", "--out", "mine")
    folder = tmp_path / "mine"
    trials = rows(folder, "trials")
    assert [one["state"] for one in trials] == [state for *_, state, _ in TRIALS]
    assert trials[4]["param:lora.r"] == "16" and float(trials[4]["objective"]) == 0.63
    assert trials[3]["reason"] == "CUDA <out of memory> & more" and trials[3]["objective"] == ""
    assert [one["trial"] for one in trials if one["chosen"] == "True"] == ["7"]
    rungs = rows(folder, "rungs")
    assert len(rungs) == sum(len(one) for _, _, one, _, _ in TRIALS)
    assert {"step": "20", "objective": "0.42", "length": "50.0"}.items() <= rungs[1].items()
    timeline = rows(folder, "timeline")
    assert len(timeline) == len(rungs) + 1 and timeline[-1]["milestone"] == "unseen"
    assert timeline[0]["began"] == "2026-09-21T14:13:20.000+00:00"
    board = rows(folder, "leaderboard")
    assert [one["split"] for one in board].count("test") == 4 and len(board) == 12
    assert board[0]["trial"] == "7" and float(board[0]["to_default:low"]) == pytest.approx(0.06)


@pytest.mark.parametrize(
    "trials", [None, [], TRIALS[:1], TRIALS[3:4], TRIALS[11:], TRIALS[1:2] * 2]
)
def test_of_a_sweep_that_has_little_yet(sweep, report, tmp_path, trials):
    sweep(trials=trials, standing=None)
    report()
    page = Page((tmp_path / "report-toy" / "index.html").read_text())
    measured = any(one[2] for one in trials or ())
    assert ("Nothing has been measured yet" in page.text) != measured
    assert "Too few trials to tell" in page.text or not measured
    assert len(rows(tmp_path / "report-toy", "trials")) == len(trials or ())


def test_where_nothing_is_searched(sweep, report, tmp_path):
    raw = json.loads(json.dumps(RECIPE))
    raw["stages"] = {"sft": {**raw["stages"]["sft"], "learning_rate": 1e-3, "lora": {"r": 8}}}
    sweep(trials=TRIALS[:1], recipe=parse_recipe(raw), standing=None)
    report()
    page = Page((tmp_path / "report-toy" / "index.html").read_text())
    assert "Nothing is searched in this stage" in page.text
    assert (tmp_path / "report-toy" / "sft-curves.png").is_file()


def test_before_any_stage_has_begun(database, recipe, report, tmp_path):
    run_store.create(database, recipe, recipe.order(), run_store.RunOptions())
    assert "0 of 3 stages" in report()
    assert "No stage has begun yet" in (tmp_path / "report-toy" / "index.html").read_text()


def test_only_a_report_is_replaced(sweep, report, tmp_path):
    sweep(trials=[])
    report("--out", "mine")
    page = tmp_path / "mine" / "index.html"
    first = page.read_text() + "<!-- of before -->"
    page.write_text(first)
    report("--out", "mine")
    assert (tmp_path / "mine" / "index.html").read_text() != first
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "also notes.txt" in report("--out", "mine", code=2)
    (tmp_path / "file").write_text("mine")
    assert "is not a folder" in report("--out", "file", code=2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_text("<title>mine</title>")
    assert "no report of a sweep" in report("--out", "other", code=2)
    assert (tmp_path / "other" / "index.html").read_text() == "<title>mine</title>"
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_a_name_that_is_nearly_right(sweep, report):
    sweep()
    assert "did you mean 'toy/sft'?" in report("toy/sfd", code=2)
