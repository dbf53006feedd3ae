"""`alignery ab …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from align.json_output import JsonOption, print_json
from cluster.settings import Settings

if TYPE_CHECKING:
    from serve.experiments import Experiments, VariantSpec

ab_app = typer.Typer(help="Compare adapters on live traffic.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(help="The experiment's name.")]


@ab_app.command("start")
def start(
    name: Annotated[str, typer.Argument(help="A new name; requests use it as their `model`.")],
    control: Annotated[str, typer.Option(help="The model that answers now, e.g. base.")],
    treatment: Annotated[
        list[str], typer.Option(help="A model that may be better; repeat for several.")
    ],
    planned_users: Annotated[
        int,
        typer.Option(help="Users with feedback that you expect; the test is sharpest there."),
    ] = 1000,
    alpha: Annotated[
        float, typer.Option(help="How often a difference may be seen where there is none.")
    ] = 0.05,
    as_json: JsonOption = False,
) -> None:
    """Split users between models; each user always sees the same one."""
    from serve.experiments import VariantSpec

    several = len(treatment) > 1
    names = [f"treatment-{i}" if several else "treatment" for i in range(1, len(treatment) + 1)]
    variants = [VariantSpec(name="control", model=control)] + [
        VariantSpec(name=arm, model=model) for arm, model in zip(names, treatment, strict=True)
    ]
    info = _experiments().start(name, variants, "control", planned_users, alpha)
    if as_json:
        typer.echo(info.model_dump_json(indent=2))
        return
    typer.echo(f"'{name}' runs: {_arms(info.variants)}")
    typer.echo(f"Ask for the model '{name}' with a stable `user`, rate answers at /v1/feedback,")
    typer.echo(f"and look whenever you like: alignery ab report {name}")


@ab_app.command("report")
def report(name: _Name, as_json: JsonOption = False) -> None:
    """What an experiment shows so far; looking often does not spoil it."""
    result = _experiments().report(name)
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        from serve.display import print_report

        print_report(result)


@ab_app.command("stop")
def stop(
    name: _Name,
    reason: Annotated[str, typer.Option(help="Why, kept with the experiment.")] = "",
    as_json: JsonOption = False,
) -> None:
    """End an experiment; its name is no model any more, its report stays."""
    info = _experiments().stop(name, reason)
    if as_json:
        typer.echo(info.model_dump_json(indent=2))
    else:
        typer.echo(f"'{name}' is stopped: alignery ab report {name}")


@ab_app.command("list")
def list_experiments(as_json: JsonOption = False) -> None:
    """All experiments, oldest first."""
    experiments = _experiments().every()
    if as_json:
        print_json([info.model_dump(mode="json") for info in experiments])
    elif not experiments:
        typer.echo("no experiments yet: `alignery ab start` makes one", err=True)
    else:
        from serve.display import print_experiments

        print_experiments(experiments)


def _experiments() -> Experiments:
    from serve.experiments import open_experiments

    return open_experiments(Settings())


def _arms(variants: list[VariantSpec]) -> str:
    return ", ".join(f"{variant.name} = {variant.model}" for variant in variants)
