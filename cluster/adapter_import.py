"""`alignery adapter import`: adapters of other tools become versions of a line."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from align.errors import printable
from align.json_output import JsonOption, print_json
from cluster.errors import RegistryError
from cluster.names import check_line
from cluster.settings import Settings

if TYPE_CHECKING:
    from cluster.registry import Registry


def _check_known_base(registry: Registry, identity: str, base: str) -> None:
    """RegistryError if the same adapter is registered for another base.

    An id has a single record, so the base of this import would be dropped without a word.
    """
    for known in registry.versions():
        if known.adapter_id == identity and known.base != base:
            raise RegistryError(
                f"the same adapter is registered as {known.name} for base '{known.base}', and "
                f"cannot have base '{base}' beside it: serve it by `alignery serve run "
                f"--base {known.base}`, or import it into another ALIGNERY_HOME"
            )


def import_command(
    source: Annotated[
        Path,
        typer.Argument(
            help="A PEFT adapter's folder or safetensors file, or a trainer's checkpoint with one."
        ),
    ],
    line: Annotated[str, typer.Option(help="The line of adapters to add to, e.g. mine/sft.")],
    base: Annotated[
        str | None,
        typer.Option(
            help="The base that it was trained on: a folder, a hub id or a built-in name. Default: "
            "the base that its adapter_config.json names."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take in an adapter that another tool has made, as the next version of a line.

    It reads PEFT's LoRA, AdaLoRA, LoHa, LoKr and VeRA and stores exactly what they compute.

    What cannot be held exactly is refused with the reason. Pickles (.bin, .pt) are never loaded.

    For folders that alignery has published: `alignery adapter register`.
    """
    from align.importing import import_adapter
    from cluster.registry import open_registry

    check_line(line)
    registry = open_registry(Settings())
    with tempfile.TemporaryDirectory(prefix="alignery-import-") as scratch:
        folder = Path(scratch) / "adapter"
        imported = import_adapter(source, line, base, folder)
        _check_known_base(registry, imported.manifest.id, imported.manifest.base)
        version = registry.register(line, folder)
    if as_json:
        print_json(
            {
                "name": version.name,
                "line": version.line,
                "number": version.number,
                "id": version.adapter_id,
                "base": version.base,
                "method": version.method,
                "rank": version.rank,
                "peft_type": imported.kind,
                "conversion": imported.conversion,
                "notes": list(imported.notes),
            }
        )
        return
    typer.echo(
        f"{version.name} is {version.adapter_id[:12]}: {imported.kind} for base '{version.base}', "
        f"{imported.conversion}, rank {version.rank}"
    )
    for note in imported.notes:
        typer.echo(f"note: {printable(note)}", err=True)
