"""The report's page: its sections, their order and their texts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from align.evaluation.result_text import (
    difference_text,
    estimate_text,
    figure_text,
    interval_text,
)
from align.evaluation.statistics import Paired
from sweeps.progress import evidence_lines, value_text
from sweeps.report import figures, spaces
from sweeps.report.data import StageReport, SweepReport
from sweeps.report.tables import VALIDATION, Placed, leaderboard
from sweeps.report.template import CSS, PAGE
from sweeps.report.timeline import bars, idle_share, lanes, timeline, window

#: The page's generator tag; a folder whose page contains it is recognised as a report.
GENERATOR = "alignery sweep report"
PAGE_NAME = "index.html"


@dataclass(frozen=True)
class Table:
    """Titles and rows of text. `numbers` and `long` are indices of columns, `chosen` of rows."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()
    long: tuple[int, ...] = ()
    chosen: tuple[int, ...] = ()


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
        stages=_stages(report),
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
    placed = leaderboard(stage)
    yield Part("Leaderboard", _leaderboard_told(stage), table=_leaderboard(stage, placed))
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


def _stages(report: SweepReport) -> Table:
    titles = (
        "stage", "state", "version", "trial", "objective", "chosen", "default", "parent", "base",
        "trials", "pruned", "failed", "seconds", "builds on",
    )  # fmt: skip
    rows = tuple(_stage_row(stage) for stage in report.stages)
    return Table(titles, rows, numbers=(3, 9, 10, 11, 12))  # figures with intervals wrap


def _stage_row(stage: StageReport) -> tuple[str, ...]:
    placed = {entry.name: entry for entry in leaderboard(stage)}
    best = stage.best
    winner = next(
        (entry for entry in placed.values() if best and entry.number == best.number), None
    )
    default = next((entry for entry in placed.values() if entry.number == 0), None)
    builds_on = [stage.parent, f"reward model {stage.reward_model}" if stage.reward_model else ""]
    return (
        stage.stage,
        stage.state,
        stage.version or "–",
        "–" if best is None else str(best.number),
        stage.objective,
        *(
            _figure(stage.measure, entry)
            for entry in (winner, default, placed.get("parent"), placed.get("base"))
        ),
        f"{len(stage.trials)} of {max(stage.wanted, len(stage.trials))}",
        str(stage.count("PRUNED")),
        str(stage.count("FAIL")),
        f"{stage.seconds:.0f}",
        ", ".join(filter(None, builds_on)) or "the base",
    )


def _figure(measure: str, entry: Placed | None) -> str:
    if entry is None:
        return "–"
    text = estimate_text(measure, entry.objective, entry.low, entry.high)
    if entry.items is not None:
        text += f" of {entry.items} items"
    return f"{text} {VALIDATION}" if entry.split == VALIDATION else text


def _leaderboard(stage: StageReport, placed: list[Placed]) -> Table | None:
    if not placed:
        return None
    titles = (
        "",
        "system",
        stage.objective,
        "95 % interval",
        "items",
        "measured on",
        "to default",
        "to parent",
        "to base",
        *(parameter.title for parameter in stage.parameters),
    )
    rows = tuple(
        (
            "" if entry.place is None else str(entry.place),
            _system(entry),
            figure_text(stage.measure, entry.objective),
            interval_text(stage.measure, entry.low, entry.high),
            "" if entry.items is None else str(entry.items),
            entry.split if entry.split == VALIDATION else f"unseen ({entry.split})",
            *(
                _difference(stage.measure, gain)
                for gain in (entry.against_default, entry.against_parent, entry.against_base)
            ),
            *(value_text(entry.params.get(parameter.name)) for parameter in stage.parameters),
        )
        for entry in placed
    )
    chosen = tuple(index for index, entry in enumerate(placed) if entry.chosen)
    return Table(titles, rows, (0, 2, 4, *range(9, len(titles))), chosen=chosen)


def _system(entry: Placed) -> str:
    suffix = f" (trial {entry.number})" if entry.number == 0 and "trial" not in entry.name else ""
    words = [entry.name + suffix]
    if entry.chosen:
        words.append("chosen")
    if entry.state in ("PRUNED", "RUNNING", "FAIL"):
        words.append({"PRUNED": "pruned", "RUNNING": "running", "FAIL": "failed"}[entry.state])
    if not entry.feasible:
        words.append("breaks a constraint")
    return ", ".join(words)


def _difference(measure: str, gain: Paired | None) -> str:
    return "" if gain is None else difference_text(measure, gain)


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
