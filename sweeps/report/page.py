"""The page: what is told of each stage, in which order and words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from sweeps.progress import objective_text, value_text
from sweeps.report import figures, spaces
from sweeps.report.data import StageReport, SweepReport
from sweeps.report.tables import VALIDATION, Placed, leaderboard
from sweeps.report.template import CSS, PAGE
from sweeps.report.timeline import bars, idle_share, lanes, timeline, window
from sweeps.results.finalists import FinalistDifference

#: By this a folder is known to hold a report.
GENERATOR = "alignery sweep report"
PAGE_NAME = "index.html"


@dataclass(frozen=True)
class Table:
    """Titles and rows of text. By index: `numbers` and `long` columns, and `chosen` rows."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()
    long: tuple[int, ...] = ()
    chosen: tuple[int, ...] = ()


@dataclass(frozen=True)
class Part:
    """One thing told of a stage; `plot` is the name of its figure."""

    title: str
    told: str = ""
    plot: str = ""
    table: Table | None = None


def plots(report: SweepReport) -> dict[str, Figure]:
    """All figures by name: `<stage>-<what>`. A stage lacks those it has no data for."""
    work = bars(report.stages)
    found: dict[str, Figure | None] = {}
    for one in report.stages:
        found[f"{one.stage}-history"] = figures.history(one)
        found[f"{one.stage}-curves"] = figures.curves(one)
        found[f"{one.stage}-parallel"] = spaces.parallel(one)
        found |= {f"{one.stage}-{name}": figure for name, figure in spaces.pairs(one)}
        found[f"{one.stage}-importances"] = figures.importances(one)
        found[f"{one.stage}-rungs"] = figures.rungs(one)
        found[f"{one.stage}-timeline"] = timeline(work, one.stage)
    return {name: figure for name, figure in found.items() if figure is not None}


def page(report: SweepReport, svgs: Mapping[str, str], files: tuple[str, ...]) -> str:
    """The page as HTML, with the plots as `svgs` by their name."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    sections = [
        {
            "anchor": f"stage-{one.stage}",
            "title": one.stage,
            "told": _told(one),
            "parts": [_shown(part, svgs) for part in _parts(report, one, svgs)],
        }
        for one in report.stages
    ]
    return environment.from_string(PAGE).render(
        generator=GENERATOR,
        css=Markup(CSS),
        title=f"Sweep {report.name}",
        subtitle=f"{report.state} · base {report.base} · made {report.made}".removeprefix(" · "),
        sections=sections,
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


def _shown(part: Part, svgs: Mapping[str, str]) -> dict[str, object]:
    svg = Markup(svgs[part.plot]) if part.plot in svgs else ""
    return {"title": part.title, "told": part.told, "svg": svg, "table": part.table}


def _parts(report: SweepReport, one: StageReport, svgs: Mapping[str, str]) -> Iterator[Part]:
    placed = leaderboard(one)
    yield Part("Leaderboard", _leaderboard_told(one), table=_leaderboard(one, placed))
    if not one.measured:
        yield Part("Optimisation history", "Nothing has been measured yet.")
    else:
        yield Part("Optimisation history", plot=f"{one.stage}-history")
    if f"{one.stage}-curves" in svgs:
        yield Part("Learning curves", plot=f"{one.stage}-curves")
    if not one.parameters:
        yield Part("Search space", "Nothing is searched in this stage: one trial is all of it.")
    elif f"{one.stage}-parallel" in svgs:
        told = "A line for each trial; dashed: stopped before its end. The best is thick."
        yield Part("Parallel coordinates", told, f"{one.stage}-parallel")
        for name, _ in spaces.pairs(one):
            yield Part(name.replace("-", " × "), plot=f"{one.stage}-{name}")
        told = f"{one.importance.told} By PED-ANOVA: what sets the best trials apart."
        if not one.importance.shares:
            told = one.importance.told
        yield Part("Parameter importances", told, f"{one.stage}-importances")
    if one.trials:
        yield Part("Rungs", "" if one.rungs else "No rungs: no trial is pruned.",
                   f"{one.stage}-rungs")  # fmt: skip
    yield Part("Pool", _stage_pool(report, one), f"{one.stage}-timeline")
    if one.failed:
        rows = tuple(
            (str(trial.number), str(trial.step), trial.reason or "no reason was kept")
            for trial in one.failed
        )
        yield Part("Failed trials", table=Table(("trial", "at step", "reason"), rows, (0, 1), (2,)))


def _stages(report: SweepReport) -> Table:
    titles = (
        "stage", "state", "version", "trial", "objective", "chosen", "default", "parent", "base",
        "trials", "pruned", "failed", "seconds", "builds on",
    )  # fmt: skip
    rows = tuple(_stage_row(one) for one in report.stages)
    return Table(titles, rows, numbers=(3, 5, 6, 7, 8, 9, 10, 11, 12))


def _stage_row(one: StageReport) -> tuple[str, ...]:
    placed = {entry.name: entry for entry in leaderboard(one)}
    best = one.best
    won = next((entry for entry in placed.values() if best and entry.number == best.number), None)
    default = next((entry for entry in placed.values() if entry.number == 0), None)
    on = [one.parent, f"reward model {one.reward_model}" if one.reward_model else ""]
    return (
        one.stage,
        one.state,
        one.version or "–",
        "–" if best is None else str(best.number),
        one.objective,
        _figure(won),
        _figure(default),
        _figure(placed.get("parent")),
        _figure(placed.get("base")),
        f"{len(one.trials)} of {max(one.wanted, len(one.trials))}",
        str(one.count("PRUNED")),
        str(one.count("FAIL")),
        f"{one.seconds:.0f}",
        ", ".join(filter(None, on)) or "the base",
    )


def _figure(one: Placed | None) -> str:
    if one is None:
        return "–"
    text = objective_text(one.objective)
    if one.low is not None and one.high is not None:
        text += f" ({one.low:.4g} to {one.high:.4g})"
    return f"{text} {VALIDATION}" if one.split == VALIDATION else text


def _leaderboard(stage: StageReport, placed: list[Placed]) -> Table | None:
    if not placed:
        return None
    titles = ("", "system", stage.objective, "95 % interval", "measured on", "to default",
              "to parent", *(one.title for one in stage.parameters))  # fmt: skip
    rows = tuple(
        (
            "" if one.place is None else str(one.place),
            _system(one),
            objective_text(one.objective),
            "" if one.low is None or one.high is None else f"{one.low:.4g} to {one.high:.4g}",
            one.split if one.split == VALIDATION else f"unseen ({one.split})",
            _difference(one.against_default),
            _difference(one.against_parent),
            *(value_text(one.params.get(parameter.name)) for parameter in stage.parameters),
        )
        for one in placed
    )
    chosen = tuple(at for at, one in enumerate(placed) if one.chosen)
    return Table(titles, rows, (0, 2, *range(7, len(titles))), chosen=chosen)


def _system(one: Placed) -> str:
    trial = f" (trial {one.number})" if one.number == 0 and "trial" not in one.name else ""
    said = [one.name + trial]
    if one.chosen:
        said.append("chosen")
    if one.state in ("PRUNED", "RUNNING", "FAIL"):
        said.append({"PRUNED": "pruned", "RUNNING": "running", "FAIL": "failed"}[one.state])
    if not one.feasible:
        said.append("breaks a constraint")
    return ", ".join(said)


def _difference(one: FinalistDifference | None) -> str:
    if one is None:
        return ""
    return f"{one.difference:+.3g} ({one.low:+.3g} to {one.high:+.3g})"


def _leaderboard_told(one: StageReport) -> str:
    if not one.measured:
        return "No trial has been measured yet."
    if one.standing is None:
        return (
            "By validation items, which the search saw: the best of many is flattered there. No "
            "finalist was measured on unseen items."
        )
    return (
        f"Finalists on {one.standing.items} unseen items ({one.standing.split}), best first; "
        "below them all other trials by their newest validation figure, which is not comparable."
    )


def _told(one: StageReport) -> str:
    way = "lower" if one.minimised else "higher"
    states = (("COMPLETE", "complete"), ("PRUNED", "pruned"), ("RUNNING", "running"),
              ("FAIL", "failed"))  # fmt: skip
    counts = ", ".join(f"{one.count(s)} {word}" for s, word in states if one.count(s))
    version = f" It became {one.version}." if one.version else ""
    return (
        f"{one.line}, sweep {one.run}, {one.method}: {one.state}. {one.objective}, {way} is "
        f"better. Trials begun: {len(one.trials)}{f' ({counts})' if counts else ''}.{version}"
    )


def _pool(report: SweepReport) -> str:
    pool = lanes(bars(report.stages))
    if not pool:
        return ""
    nodes = len({one.node for one in pool})
    return (
        f"The pool: {len(pool)} places for workers on {nodes} "
        f"{'machine' if nodes == 1 else 'machines'}, idle {idle_share(pool):.0%} of the time."
    )


def _stage_pool(report: SweepReport, one: StageReport) -> str:
    work = bars(report.stages)
    span = window(work, one.stage)
    if span is None:
        return "Nothing has been measured yet."
    start, end = span
    there = [bar for bar in work if bar.ended > start and bar.began < end]
    idle = idle_share(lanes(there), start, end)
    return (
        f"A lane for each worker, bars numbered by trial. Idle {idle:.0%} of the stage's time: "
        "from a lane's first work to the stage's end, waiting counts as idle, and so does a "
        "machine that left."
    )
