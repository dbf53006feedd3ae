"""`alignery adapter …` and `alignery cluster …`."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from align.console_tables import print_parts, print_table
from align.errors import AdapterError
from align.json_output import JsonOption, print_json
from cluster.adapter_import import import_command
from cluster.settings import Settings

if TYPE_CHECKING:
    from align.evaluation.examples import Example
    from cluster.promotion import Expected, HistoryEntry
    from cluster.registry import AdapterVersion, Registry

adapter_app = typer.Typer(
    help="List, register, import, promote and roll back adapters.", no_args_is_help=True
)
adapter_app.command("import")(import_command)
cluster_app = typer.Typer(help="Look at what all machines share.", no_args_is_help=True)

_Alias = Annotated[str, typer.Option(help="Which alias of the line.")]
_Reason = Annotated[str, typer.Option(help="Why, kept in the history.")]
_Line = Annotated[str, typer.Argument(help="A line of adapters, e.g. arithmetic/sft.")]


@adapter_app.command("list")
def list_adapters(
    line: Annotated[str | None, typer.Argument(help="Only this line, e.g. arithmetic/sft.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List all registered adapters and where aliases point."""
    registry = _registry()
    versions = registry.versions(line)
    if line is not None and not versions:
        raise registry.not_found(line)
    if as_json:
        print_json([_row(version) for version in versions])
    elif not versions:
        typer.echo("no adapters yet: `alignery sweep run` makes some", err=True)
    else:
        print_table(
            ["adapter", "aliases", "method", "rank", "id", "registered", "base"],
            [_cells(version) for version in versions],
        )


@adapter_app.command("show")
def show_adapter(
    name: Annotated[str, typer.Argument(help="E.g. arithmetic/sft:1 or arithmetic/sft@champion.")],
    as_json: JsonOption = False,
) -> None:
    """Show one adapter: where it came from, how good it is, where its files are."""
    from cluster.display import version_parts

    registry = _registry()
    version = registry.resolve(name)
    folder = registry.folder(version)
    if as_json:
        manifest = version.manifest.model_dump(mode="json")
        print_json({**_row(version), "folder": str(folder), "manifest": manifest})
    else:
        print_parts(*version_parts(version, folder, _examples(folder)))


@adapter_app.command("compare")
def compare_adapters(
    first: Annotated[str, typer.Argument(help="E.g. arithmetic/dpo:2 or arithmetic/dpo@champion.")],
    second: Annotated[str, typer.Argument(help="What to hold it against.")],
    as_json: JsonOption = False,
) -> None:
    """Compare two adapters by the held-out items that both were measured on."""
    from cluster.compare import compare_versions
    from cluster.display import compared_cells

    comparison = compare_versions(_registry(), first, second)
    if as_json:
        print_json(comparison.plain())
        return
    names = [comparison.first.name, comparison.second.name]
    if not comparison.measures:
        typer.echo(f"nothing that was measured of {names[0]} and {names[1]} can be compared")
    else:
        columns = ["measure", "items", *names, "difference (95 %)", "p", f"{names[0]} is"]
        print_table(columns, [compared_cells(measure) for measure in comparison.measures])
    for reason in dict.fromkeys(comparison.left_out.values()):
        measures = ", ".join(name for name, why in comparison.left_out.items() if why == reason)
        typer.echo(f"left out, since {reason}: {measures}")


@adapter_app.command("register")
def register_adapter(
    line: _Line,
    folder: Annotated[Path, typer.Argument(help="A published adapter: PEFT files and manifest.")],
    as_json: JsonOption = False,
) -> None:
    """Store a folder that alignery has published as the next version of a line.

    It keeps manifest and id.

    For adapters that other tools have made: `alignery adapter import`.
    """
    version = _registry().register(line, folder)
    if as_json:
        print_json(_row(version))
    else:
        typer.echo(f"{version.name} is {version.adapter_id[:12]}")


@adapter_app.command("promote")
def promote_adapter(
    name: Annotated[str, typer.Argument(help="The version to promote, e.g. arithmetic/sft:1.")],
    alias: _Alias = "champion",
    expected: Annotated[
        str | None,
        typer.Option(
            help="Only if the alias points to this adapter now: an id or its first 8 or more "
            "characters; 'none' if the alias must not exist yet. Default: whatever it points to."
        ),
    ] = None,
    reason: _Reason = "",
    as_json: JsonOption = False,
) -> None:
    """Point an alias of the line to this version, in one step."""
    registry = _registry()
    version = registry.resolve(name)
    entry = registry.promote(
        version.line, version.number, alias, _expected(registry, version.line, expected), reason
    )
    _print_move(entry, as_json)


@adapter_app.command("rollback")
def rollback_adapter(
    line: _Line, alias: _Alias = "champion", reason: _Reason = "", as_json: JsonOption = False
) -> None:
    """Point an alias back to where it pointed before; again to go back further."""
    _print_move(_registry().rollback(line, alias, reason), as_json)


@adapter_app.command("history")
def show_history(line: _Line, alias: _Alias = "champion", as_json: JsonOption = False) -> None:
    """Show every move of an alias, newest first."""
    registry = _registry()
    entries = registry.history(line, alias)
    if not entries:
        registry.resolve(f"{line}@{alias}")  # says what is missing
    if as_json:
        print_json([dataclasses.asdict(entry) for entry in entries])
    else:
        print_table(
            ["when", "action", "from", "to", "id", "reason"],
            [_history_cells(entry) for entry in entries],
        )


@cluster_app.command("check")
def check_cluster(as_json: JsonOption = False) -> None:
    """Try home, database, storage and Ray; exit code 1 if one of them has a problem."""
    from cluster.check import check_all

    checks = check_all(Settings())
    ok = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": ok, "checks": [dataclasses.asdict(check) for check in checks]})
    else:
        cells = [[check.name, "ok" if check.ok else "problem", check.detail] for check in checks]
        print_table(["what", "state", "detail"], cells)
    if not ok:
        raise typer.Exit(1)


# Typer shows a group only where it has more than one command, or a callback.
@cluster_app.callback()
def _cluster() -> None: ...


def _registry() -> Registry:
    from cluster.registry import open_registry

    return open_registry(Settings())


def _expected(registry: Registry, line: str, adapter_id: str | None) -> Expected:
    from cluster.promotion import ANY

    if adapter_id is None:
        return ANY
    if adapter_id == "none":
        return None
    matches = [
        version.adapter_id
        for version in registry.versions(line)
        if version.adapter_id.startswith(adapter_id)
    ]
    return matches[0] if len(adapter_id) >= 8 and len(matches) == 1 else adapter_id


def _examples(folder: Path) -> list[Example]:
    """The rows that the adapter was measured on; none if it has no readable ones."""
    from align.evaluation.examples import read_examples

    with suppress(AdapterError):
        return read_examples(folder)
    return []


def _row(version: AdapterVersion) -> dict[str, Any]:
    return {
        "name": version.name,
        "line": version.line,
        "number": version.number,
        "id": version.adapter_id,
        "aliases": list(version.aliases),
        "method": version.method,
        "rank": version.rank,
        "base": version.base,
        "created_at": version.created_at,
        "metrics": version.manifest.metrics,
    }


def _cells(version: AdapterVersion) -> list[str]:
    return [
        version.name,
        " ".join(f"@{alias}" for alias in version.aliases),
        version.method,
        str(version.rank),
        version.adapter_id[:12],
        f"{version.created_at:%Y-%m-%d}",
        version.base,
    ]


def _history_cells(entry: HistoryEntry) -> list[str]:
    return [
        f"{entry.at:%Y-%m-%d %H:%M:%S}",
        entry.action,
        f"{entry.line}:{entry.from_number}" if entry.from_number else "",
        f"{entry.line}:{entry.to_number}",
        entry.to_id[:12],
        entry.reason,
    ]


def _print_move(entry: HistoryEntry, as_json: bool) -> None:
    if as_json:
        print_json(dataclasses.asdict(entry))
        return
    origin = f" (was :{entry.from_number})" if entry.from_number else ""
    typer.echo(f"{entry.line}@{entry.alias} is {entry.line}:{entry.to_number}{origin}")
