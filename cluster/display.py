"""An adapter as people read it: what it is, where it came from, how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.adapters import Manifest
from align.console_tables import table_of
from align.evaluation.comparison import Compared
from align.evaluation.estimates import estimate
from align.evaluation.examples import Example
from align.evaluation.result_text import (
    difference_text,
    estimate_text,
    figure_text,
    interval_text,
    stored_difference_text,
)
from cluster.registry import AdapterVersion

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Characters of an id that are shown; the commands take as few as eight.
ID_LENGTH = 12
#: The metrics of time begin so.
_SECONDS = "seconds"


def version_parts(
    version: AdapterVersion, folder: Path, rows: Sequence[Example]
) -> list[RenderableType]:
    """The version's fields, its searched parameters and its measures; `rows` may be empty."""
    manifest = version.manifest
    parts: list[RenderableType] = [table_of(["", ""], _fields(version, folder))]
    if manifest.params:
        params = [(name, _value(value)) for name, value in manifest.params.items()]
        parts += ["", table_of(["parameter", "value"], params)]
    if not manifest.metrics:
        return [*parts, "", "not measured"]
    titles = ["measure", "value", "items", "to the base"]
    if manifest.parents:  # otherwise the base stands for the parent
        titles.append("to the parent")
    cells = [_measure_cells(version, name, rows)[: len(titles)] for name in _measures(manifest)]
    return [
        *parts,
        "",
        "measures on validation items, with 95 % intervals",
        table_of(titles, cells),
    ]


def compared_cells(compared: Compared) -> list[str]:
    """The row of a measure in a comparison of two adapters."""
    measure, gain = compared.measure, compared.gain
    return [
        measure,
        str(gain.count),
        figure_text(measure, compared.ours),
        figure_text(measure, compared.theirs),
        difference_text(measure, gain),
        "" if gain.p_value is None else f"{gain.p_value:.2g}",
        compared.verdict,
    ]


def _fields(version: AdapterVersion, folder: Path) -> list[tuple[str, str]]:
    manifest = version.manifest
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    lines = manifest.parent_lines or [""] * len(manifest.parents)
    parents = [
        f"{line} {parent[:ID_LENGTH]}".strip()
        for line, parent in zip(lines, manifest.parents, strict=False)
    ]
    rows = [f"{split.rows:,} {name}" for name, split in manifest.data.items()]
    packages = [f"{name} {number}" for name, number in manifest.versions.items()]
    fields = {
        "adapter": version.name,
        "aliases": " ".join(f"@{alias}" for alias in version.aliases),
        "id": version.adapter_id[:ID_LENGTH],
        "method": f"{version.method}, rank {version.rank}",
        "base": version.base,
        "parents": ", ".join(parents),
        "reward model": (manifest.reward_model or "")[:ID_LENGTH],
        "registered": f"{version.created_at:%Y-%m-%d %H:%M:%S} UTC",
        "training": _training(manifest),
        "last milestone": _milestone(manifest.metrics),
        "rows": ", ".join(rows),
        "packages": ", ".join(packages),
        "folder": f"{folder} ({size_text(size)})",
    }
    return [(name, text) for name, text in fields.items() if text]


def _measures(manifest: Manifest) -> list[str]:
    """The names of the metrics without times, steps and what is repeated of parent and base."""
    repeated = {f"{side}_{name}" for side in ("parent", "base") for name in manifest.metrics}
    left_out = repeated | {"step"}
    return [
        name for name in manifest.metrics if name not in left_out and not name.startswith(_SECONDS)
    ]


def _training(manifest: Manifest) -> str:
    seconds, steps = manifest.wall_seconds or manifest.seconds, manifest.metrics.get("step")
    parts = [
        duration_text(seconds) if seconds else "",
        f"{steps:.0f} steps" if steps else "",
        f"seed {manifest.seed}",
        manifest.dtype,
    ]
    return ", ".join(filter(None, parts))


def _milestone(metrics: dict[str, float]) -> str:
    """What the time of the last milestone was spent on."""
    parts = [
        f"{name.removeprefix(f'{_SECONDS}_')} {duration_text(seconds)}"
        for name, seconds in metrics.items()
        if name.startswith(f"{_SECONDS}_")
    ]
    return ", ".join(parts)


def _measure_cells(version: AdapterVersion, measure: str, rows: Sequence[Example]) -> list[str]:
    manifest = version.manifest
    value, found = manifest.metrics[measure], estimate(rows, measure)
    gains = [side.get(measure) for side in (manifest.against_base, manifest.against_parent)]
    stored = next((gain.items for gain in gains if gain is not None), None)
    items = found.count or stored
    text = estimate_text(measure, value, found.low, found.high)
    if found.count and not interval_text(measure, found.low, found.high):
        text += " (no spread)"
    return [
        measure,
        text,
        "" if items is None else str(items),
        *(stored_difference_text(measure, gain) for gain in gains),
    ]


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def size_text(size: int) -> str:
    """`512 KiB` below 1 MiB, `12.3 MiB` from there on."""
    return f"{size / 2**10:.0f} KiB" if size < 2**20 else f"{size / 2**20:.1f} MiB"


def duration_text(seconds: float) -> str:
    """`12.3 s`, `3 min 5 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"
