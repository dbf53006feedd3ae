"""The command line: mounts each package's commands, holds no logic of its own."""

from __future__ import annotations

import threading
from importlib import import_module, metadata
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from align.cpu_features import limit_instructions
from align.errors import AligneryError, printable
from cluster.signals import ended_by_signals
from cluster.threads import log_uncaught


class _Mount(NamedTuple):
    module: str
    name: str
    help: str


#: A command's module is imported when that command is called, and not for `--help` above it.
COMMANDS = {
    "demo": _Mount("demo", "demo", "Run the whole loop on a small real model, in one go."),
    "recipe": _Mount("align.commands", "recipe_app", "Write, check and look at recipes."),
    "sweep": _Mount("sweeps.commands", "sweep_app", "Search the stages of a recipe."),
    "adapter": _Mount("cluster.commands", "adapter_app", "Versions, aliases and their history."),
    "serve": _Mount("serve.commands", "serve_app", "Serve adapters behind one OpenAI endpoint."),
    "ab": _Mount("serve.commands", "ab_app", "Compare adapters on live traffic."),
    "cluster": _Mount("cluster.commands", "cluster_app", "What the machines have and share."),
    "gpu": _Mount("gpu_check", "gpu_app", "Check a GPU, and what is computed on it."),
    "bench": _Mount("benchmarks.commands", "bench_app", "Measure on this machine."),
}


class AligneryGroup(TyperGroup):
    """Imports only the called command, and reports an expected failure in one line."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the command; its own module parses the arguments after its name."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(str(name)), rest

    def invoke(self, ctx: Any) -> Any:
        """Exit code 2 for an expected failure, 130 for Ctrl-C, each with one line on stderr."""
        debug = bool(ctx.params.get("debug"))
        if debug:
            threading.excepthook = threading.__excepthook__
        try:
            limit_instructions()
            return super().invoke(ctx)
        except AligneryError as error:
            if debug:
                raise
            typer.echo(f"error: {printable(str(error))}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            if debug:
                raise
            typer.echo("stopped", err=True)
            raise typer.Exit(130) from None


def load_command(name: str) -> Any:
    """Import what `COMMANDS` mounts as `name`."""
    mount = COMMANDS[name]
    mounted = getattr(import_module(mount.module), mount.name)
    root = typer.Typer(add_completion=False)
    root.callback()(lambda: None)
    if isinstance(mounted, typer.Typer):
        root.add_typer(mounted, name=name)
    else:
        root.command(name)(mounted)
    group: Any = typer.main.get_group(root)
    return group.commands[name]


app = typer.Typer(
    cls=AligneryGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Search, serve and compare aligned language models.",
)
for _name, _mount in COMMANDS.items():
    app.command(_name, help=_mount.help)(lambda: None)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"alignery {metadata.version('alignery')}")
        raise typer.Exit


@app.callback()
def _global(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Flags that stand before the command's name; `AligneryGroup` reads them."""


def main() -> None:
    """The `alignery` program. Uncaught errors in libraries' threads are logged, not printed.

    Ctrl-C, `kill` and the end of the terminal end every command with its clean-up.
    """
    threading.excepthook = log_uncaught
    with ended_by_signals():
        app()


if __name__ == "__main__":
    main()
