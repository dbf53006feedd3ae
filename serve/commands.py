"""`alignery serve …` and `alignery ab …`."""

from __future__ import annotations

import ipaddress
import json
import math
import signal
from typing import TYPE_CHECKING, Annotated
from urllib.request import urlopen

import typer

from align.sources import check_base
from cluster.settings import Settings
from serve.errors import ServeError

if TYPE_CHECKING:
    from serve.experiments import Experiments, VariantSpec

serve_app = typer.Typer(help="Serve a base and its adapters.", no_args_is_help=True)
ab_app = typer.Typer(help="Compare adapters on live traffic.", no_args_is_help=True)

#: Models that a starting server names; GET /v1/models has them all.
SHOWN_MODELS = 20

_Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
_Name = Annotated[str, typer.Argument(help="The experiment's name.")]


@serve_app.callback()
def _serve() -> None:
    """Makes `run` a command of its own although it is the only one."""


@serve_app.command("run")
def run(
    base: Annotated[
        str | None,
        typer.Option(help="The base model. Default: the one that all champions were trained on."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 8000,
    cpus: Annotated[
        int | None, typer.Option(min=1, help="CPUs of the engine. Default: all free ones.")
    ] = None,
    slots: Annotated[
        int, typer.Option(min=1, help="Completions that are written at once; others wait.")
    ] = 64,
    slot_tokens: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Tokens of the longest prompt and completion together. Less leaves room for more "
            "slots. Default: as many as --kv-gib and the base's context allow.",
        ),
    ] = None,
    kv_gib: Annotated[
        float,
        typer.Option(help="Memory that the slots' keys and values may take together, in GiB."),
    ] = 4.0,
    adapters: Annotated[
        int,
        typer.Option(
            min=1,
            help="Different adapters that share a batch. Any number can be asked for: those "
            "beyond take turns.",
        ),
    ] = 16,
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote",
            help="Listen beyond this machine. There are no API keys: everyone who reaches the "
            "port may use it.",
        ),
    ] = False,
) -> None:
    """Serve until Ctrl-C: base, all adapters trained on it, and running experiments."""
    check_host(host, allow_remote)
    if not 0 < kv_gib < math.inf:
        raise ServeError(f"--kv-gib {kv_gib:g}: expected a number above 0, for example 4")
    settings = Settings()
    from cluster.registry import open_registry
    from serve.server import check_port
    from serve.sizes import Sizes

    sizes = Sizes(slots=slots, slot_tokens=slot_tokens, kv_gib=kv_gib, adapters=adapters)

    if port:
        check_port(host, port)
    if base is None:
        aliases = open_registry(settings).aliases().items()
        base = _champions_base({one.base for name, one in aliases if name.endswith("@champion")})
    if settings.ray_address is None:  # a cluster's machines may see what this one does not
        check_base(base)
    typer.echo(f"loading {base} …", err=True)
    from cluster.ray import ray_session
    from serve.server import running_server

    try:
        with (
            ray_session(settings, num_cpus=cpus),
            running_server(settings, base, host, port or None, cpus, sizes) as url,
        ):
            typer.echo(_greeting(url, base))
            signal.pause()
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)


def check_host(host: str, allow_remote: bool) -> None:
    """ServeError for an address that other machines reach, unless that is wanted."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ServeError(
            f"--host {host}: expected an IP address of this machine or localhost"
        ) from None
    if not loopback and not allow_remote:
        raise ServeError(
            f"--host {host} can be reached from other machines, and this endpoint has no API keys "
            "yet; add --allow-remote if your network keeps strangers out, or use 127.0.0.1"
        )


def _champions_base(bases: set[str]) -> str:
    if len(bases) == 1:
        return bases.pop()
    problem = f"champions of several bases are registered ({', '.join(sorted(bases))})"
    raise ServeError(
        f"{problem if bases else 'no champion is registered'}; name the base: "
        f"`alignery serve run --base {min(bases) if bases else 'smollm2-135m-instruct'}`"
    )


def _greeting(url: str, base: str) -> str:
    """What is served where, and how to ask."""
    with urlopen(f"{url}/v1/models") as response:
        models = json.load(response)["data"]
    names = [model["id"] for model in models]
    chats = [model["id"] for model in models if model["method"] not in ("base", "reward")]
    example = next((name for name in chats if "@" in name), [*chats, "base"][0])
    body = json.dumps({"model": example, "messages": [{"role": "user", "content": "Hello"}]})
    return "\n".join(
        [
            f"serving {base} at {url}/v1",
            "models:",
            *(f"  {name}" for name in names[:SHOWN_MODELS]),
            *([f"  … and {len(names) - SHOWN_MODELS} more"] if len(names) > SHOWN_MODELS else []),
            "try:",
            f"  curl {url}/v1/chat/completions -H 'content-type: application/json' \\",
            f"    -d '{body}'",
            "Ctrl-C stops it.",
        ]
    )


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
    as_json: _Json = False,
) -> None:
    """Split users between models; each user always sees the same one."""
    from serve.experiments import VariantSpec

    several = len(treatment) > 1
    names = [f"treatment-{i}" if several else "treatment" for i in range(1, len(treatment) + 1)]
    variants = [VariantSpec(name="control", model=control)] + [
        VariantSpec(name=one, model=model) for one, model in zip(names, treatment, strict=True)
    ]
    info = _experiments().start(name, variants, "control", planned_users, alpha)
    if as_json:
        typer.echo(info.model_dump_json(indent=2))
        return
    typer.echo(f"'{name}' runs: {_arms(info.variants)}")
    typer.echo(f"Ask for the model '{name}' with a stable `user`, rate answers at /v1/feedback,")
    typer.echo(f"and look whenever you like: alignery ab report {name}")


@ab_app.command("report")
def report(name: _Name, as_json: _Json = False) -> None:
    """What an experiment shows so far; looking often does not spoil it."""
    found = _experiments().report(name)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        from serve.display import print_report

        print_report(found)


@ab_app.command("stop")
def stop(
    name: _Name,
    reason: Annotated[str, typer.Option(help="Why, kept with the experiment.")] = "",
    as_json: _Json = False,
) -> None:
    """End an experiment; its name is no model any more, its report stays."""
    info = _experiments().stop(name, reason)
    if as_json:
        typer.echo(info.model_dump_json(indent=2))
    else:
        typer.echo(f"'{name}' is stopped: alignery ab report {name}")


@ab_app.command("list")
def list_experiments(as_json: _Json = False) -> None:
    """All experiments, oldest first."""
    every = _experiments().every()
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in every], indent=2))
    elif not every:
        typer.echo("no experiments yet: `alignery ab start` makes one", err=True)
    else:
        from serve.display import print_experiments

        print_experiments(every)


def _experiments() -> Experiments:
    from serve.experiments import open_experiments

    return open_experiments(Settings())


def _arms(variants: list[VariantSpec]) -> str:
    return ", ".join(f"{one.name} = {one.model}" for one in variants)
