"""The report's page: its sections, their order and their texts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from sweeps.progress import evidence_lines
from sweeps.report import figures, spaces
from sweeps.report.data import StageReport, SweepReport
from sweeps.report.effects import effects_told
from sweeps.report.page_tables import Table, effects_table, leaderboard_table, stages_table
from sweeps.report.template import CSS, PAGE
from sweeps.report.timeline import bars, idle_share, lanes, timeline, window

#: The page's generator tag; a folder whose page contains it is recognised as a report.
GENERATOR = "alignery sweep report"
PAGE_NAME = "index.html"


@dataclass(frozen=True)
class Part:
    """A part of a stage's section: `told` is its text, `plot` the name of its figure."""

    title: str
    told: str = ""
    plot: str = ""
    table: Table | None = None


def plots(report: SweepReport) -> dict[str, Figure]:
    """All figures by name, `<stage>-<kind>`. Figures that have no data are left out."""
    work = bars(report.stages)
    by_name: dict[str, Figure | None] = {}
    for stage in report.stages:
        by_name[f"{stage.stage}-history"] = figures.history(stage)
        by_name[f"{stage.stage}-curves"] = figures.curves(stage)
        by_name[f"{stage.stage}-parallel"] = spaces.parallel(stage)
        by_name |= {f"{stage.stage}-{name}": figure for name, figure in spaces.pairs(stage)}
        by_name[f"{stage.stage}-importances"] = figures.importances(stage)
        by_name[f"{stage.stage}-rungs"] = figures.rungs(stage)
        by_name[f"{stage.stage}-timeline"] = timeline(work, stage.stage)
    return {name: figure for name, figure in by_name.items() if figure is not None}


def page(report: SweepReport, svgs: Mapping[str, str], files: tuple[str, ...]) -> str:
    """The page as HTML. `svgs` are the plots by name, `files` the report's other files."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    sections = [
        {
            "anchor": f"stage-{stage.stage}",
            "title": stage.stage,
            "told": _told(stage),
            "parts": [_shown(part, svgs) for part in _parts(report, stage, svgs)],
        }
        for stage in report.stages
    ]
    return environment.from_string(PAGE).render(
        generator=GENERATOR,
        css=Markup(CSS),
        title=f"Sweep {report.name}",
        subtitle=f"{report.state} · base {report.base} · made {report.made}".removeprefix(" · "),
        sections=sections,
        answers=[(stage.stage, _answer(stage)) for stage in report.stages],
        stages=stages_table(report),
        stages_told="Chosen and figures are by unseen items where finalists were measured on them; "
        "intervals are 95 %. Figures marked “validation” were searched on, which flatters them.",
        waiting=", ".join(report.waiting),
        pool=_pool(report),
        about=report.about,
        recipe=report.recipe,
        packages=report.packages,
        files=", ".join(files),
    )


def _answer(stage: StageReport) -> list[str]:
    if stage.answer:
        return stage.answer
    if not stage.measured:
        return ["Nothing has been measured yet"]
    return ["No finalist was measured on unseen items, so no gain is known"]


def _shown(part: Part, svgs: Mapping[str, str]) -> dict[str, object]:
    svg = Markup(svgs[part.plot]) if part.plot in svgs else ""
    return {"title": part.title, "told": part.told, "svg": svg, "table": part.table}


def _parts(report: SweepReport, stage: StageReport, svgs: Mapping[str, str]) -> Iterator[Part]:
    yield Part("Leaderboard", _leaderboard_told(stage), table=leaderboard_table(stage))
    if stage.parameters:
        yield Part("What each searched field did", effects_told(stage), table=effects_table(stage))
    if stage.remarks:
        remarks = tuple((remark,) for remark in stage.remarks)
        yield Part("Rows and warnings", table=Table(("remark",), remarks, long=(0,)))
    if not stage.measured:
        yield Part("Optimisation history", "Nothing has been measured yet.")
    else:
        yield Part("Optimisation history", plot=f"{stage.stage}-history")
    if f"{stage.stage}-curves" in svgs:
        yield Part("Learning curves", plot=f"{stage.stage}-curves")
    if not stage.parameters:
        yield Part("Search space", "Nothing is searched in this stage: one trial is all of it.")
    elif f"{stage.stage}-parallel" in svgs:
        text = "A line for each trial; dashed: stopped before its end. The best is thick."
        yield Part("Parallel coordinates", text, f"{stage.stage}-parallel")
        for name, _ in spaces.pairs(stage):
            yield Part(name.replace("-", " × "), plot=f"{stage.stage}-{name}")
        text = f"{stage.importance.told} By PED-ANOVA: what sets the best trials apart."
        if not stage.importance.shares:
            text = stage.importance.told
        yield Part("Parameter importances", text, f"{stage.stage}-importances")
    if stage.trials:
        yield Part("Rungs", "" if stage.rungs else "No rungs: no trial is pruned.",
                   f"{stage.stage}-rungs")  # fmt: skip
    yield Part("Pool", _stage_pool(report, stage), f"{stage.stage}-timeline")
    if stage.failed:
        rows = tuple(
            (str(trial.number), str(trial.step), trial.reason or "no reason was kept")
            for trial in stage.failed
        )
        yield Part("Failed trials", table=Table(("trial", "at step", "reason"), rows, (0, 1), (2,)))


def _leaderboard_told(stage: StageReport) -> str:
    if not stage.measured:
        return "No trial has been measured yet."
    if stage.standing is None:
        return (
            "By validation items, which the search saw: the best of many is flattered there. No "
            "finalist was measured on unseen items."
        )
    return " ".join(
        [
            f"Finalists on {stage.standing.items} unseen items ({stage.standing.split}), best "
            "first; below them all other trials by their newest validation figure, which is not "
            "comparable.",
            *(f"{line}." for line in evidence_lines(stage.standing)),
        ]
    )


def _told(stage: StageReport) -> str:
    direction = "lower" if stage.minimised else "higher"
    states = (("COMPLETE", "complete"), ("PRUNED", "pruned"), ("RUNNING", "running"),
              ("FAIL", "failed"))  # fmt: skip
    counts = ", ".join(
        f"{stage.count(state)} {word}" for state, word in states if stage.count(state)
    )
    version = f" It became {stage.version}." if stage.version else ""
    return (
        f"{stage.line}, sweep {stage.run}, {stage.method}: {stage.state}. {stage.objective}, "
        f"{direction} is better. Trials begun: {len(stage.trials)}"
        f"{f' ({counts})' if counts else ''}.{version}"
    )


def _pool(report: SweepReport) -> str:
    pool = lanes(bars(report.stages))
    if not pool:
        return ""
    nodes = len({lane.node for lane in pool})
    return (
        f"The pool: {len(pool)} places for workers on {nodes} "
        f"{'machine' if nodes == 1 else 'machines'}, idle {idle_share(pool):.0%} of the time."
    )


def _stage_pool(report: SweepReport, stage: StageReport) -> str:
    work = bars(report.stages)
    span = window(work, stage.stage)
    if span is None:
        return "Nothing has been measured yet."
    start, end = span
    overlapping = [bar for bar in work if bar.ended > start and bar.began < end]
    idle = idle_share(lanes(overlapping), start, end)
    return (
        f"A lane for each worker, bars numbered by trial. Idle {idle:.0%} of the stage's time: "
        "from a lane's first work to the stage's end, waiting counts as idle, and so does a "
        "machine that left."
    )
