"""A report on disk: the page, a PNG for each plot, and CSV."""

from __future__ import annotations

import io
import re
import shutil
import uuid
from pathlib import Path

from matplotlib.figure import Figure

from align.atomic_write import atomic_path
from sweeps.errors import SweepError
from sweeps.report.data import SweepReport
from sweeps.report.page import GENERATOR, PAGE_NAME, page, plots
from sweeps.report.style import GRID, INK, MUTED, PAPER, style
from sweeps.report.tables import csvs

_DPI = 150
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
#: The page's CSS variables, which follow dark mode, by the colour of a plot that they replace.
_LIVE = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", PAPER: "var(--paper)"}


def write(report: SweepReport, target: Path) -> list[str]:
    """Write a report's folder, replacing an earlier report, and return the names of its files.

    It is written to a temporary folder and renamed, so that the target is never incomplete.
    SweepError if the target holds anything but a report, or cannot be written.
    """
    check_target(target)
    old = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}-old")
    try:
        with atomic_path(target) as partial:
            partial.mkdir(parents=True)
            names = _fill(report, partial)
            if target.exists():
                target.rename(old)
    except OSError as error:
        if old.exists() and not target.exists():
            old.rename(target)
        raise SweepError(f"{target}: the report cannot be written there: {error}") from error
    finally:
        shutil.rmtree(old, ignore_errors=True)
    return names


def check_target(target: Path) -> None:
    """SweepError if a report may not be written here: only an earlier report is replaced."""
    if not target.exists() and not target.is_symlink():
        return
    if not target.is_dir() or target.is_symlink():
        raise SweepError(f"{target} is not a folder; give --out a new one, or an earlier report's")
    paths = sorted(target.iterdir())
    if not paths:
        return
    index_page = target / PAGE_NAME
    if (
        not index_page.is_file()
        or GENERATOR not in index_page.read_text("utf-8", errors="replace")[:2000]
    ):
        raise SweepError(
            f"{target} is a folder, and no report of a sweep is in it; give --out a new folder, or "
            "an earlier report's"
        )
    endings = (PAGE_NAME, ".png", ".csv")
    foreign = [path.name for path in paths if path.is_dir() or not path.name.endswith(endings)]
    if foreign:
        raise SweepError(
            f"{target} holds a report and also {foreign[0]}, which would be lost; move that, or "
            "give --out another folder"
        )


def _fill(report: SweepReport, folder: Path) -> list[str]:
    tables = csvs(report)
    with style():
        drawn = plots(report)
        svgs = {name: to_svg(figure, name) for name, figure in drawn.items()}
        for name, figure in drawn.items():
            figure.savefig(
                folder / f"{name}.png", dpi=_DPI, facecolor=PAPER, metadata={"Software": None}
            )
    for name, text in tables.items():
        (folder / name).write_text(text, encoding="utf-8")
    names = (*(f"{name}.png" for name in drawn), *tables)
    (folder / PAGE_NAME).write_text(page(report, svgs, names), encoding="utf-8")
    return [PAGE_NAME, *names]


def to_svg(figure: Figure, name: str) -> str:
    """A plot as an SVG element: ids that begin with its name, the page's colours, no namespaces."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=_NO_METADATA)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    prefix = re.sub(r"\W+", "-", name)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    for color, live in _LIVE.items():
        svg = svg.replace(color, live)
    return svg
