"""`alignery serve deploy|status|down`: an endpoint on a cluster, independent of this process."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from align.console_tables import print_table
from align.inference.options import EngineOptions
from align.json_output import JsonOption, print_json
from cluster.dashboard import (
    AddressOption,
    TrustNetworkOption,
    check_cluster,
    dashboard_address,
)
from cluster.settings import Settings
from serve.commands.common import (
    BankAdapters,
    Base,
    CudaGraphs,
    KvGib,
    ParseControlTokens,
    Slots,
    SlotTokens,
    WithoutKeys,
    champions_base,
    serve_app,
    sizes,
)
from serve.errors import ServeError

if TYPE_CHECKING:
    from serve.deployment.remote import EndpointState

Wait = Annotated[
    float, typer.Option(min=0, help="Wait so many seconds until it is so; 0 does not wait.")
]

#: Parameters of `deploy` that are no part of the config.
_HOW = ("file", "write", "address", "trust_network", "wait", "as_json")


@serve_app.command("deploy")
def deploy(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="A Serve config, as --write makes one. Default: by the options."),
    ] = None,
    base: Base = None,
    replicas: Annotated[int, typer.Option(min=1, help="Engines, each with a base of its own.")] = 1,
    most_replicas: Annotated[
        int | None,
        typer.Option(min=1, help="Let them become so many while requests wait. Default: do not."),
    ] = None,
    ingresses: Annotated[
        int, typer.Option(min=1, help="Processes that speak HTTP; one serves several engines.")
    ] = 1,
    gpus: Annotated[
        float, typer.Option(min=0, help="GPUs of an engine; 0 computes on the CPU.")
    ] = 1,
    cpus: Annotated[float, typer.Option(min=1, help="CPUs, and threads, of an engine.")] = 1,
    accelerator: Annotated[
        str | None, typer.Option(help="Run engines on GPUs of this type only, e.g. T4.")
    ] = None,
    slots: Slots = EngineOptions.slots,
    slot_tokens: SlotTokens = EngineOptions.slot_tokens,
    kv_gib: KvGib = None,
    adapters: BankAdapters = EngineOptions.adapters,
    cuda_graphs: CudaGraphs = EngineOptions.cuda_graphs,
    parse_control_tokens: ParseControlTokens = EngineOptions.parse_control_tokens,
    host: Annotated[
        str, typer.Option(help="The address to listen on, on every machine that serves.")
    ] = "0.0.0.0",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8000,
    without_keys: WithoutKeys = False,
    write: Annotated[
        Path | None,
        typer.Option(help="Write the Serve config to this file ('-': print it), deploy nothing."),
    ] = None,
    address: AddressOption = None,
    trust_network: TrustNetworkOption = False,
    wait: Wait = 900,
    as_json: JsonOption = False,
) -> None:
    """Serve on a Ray cluster, and go on when this command has ended.

    The cluster's machines need the same version of Alignery, and find the
    database and the storage by their own ALIGNERY_ variables. Deployed again,
    what differs is changed; what others serve there stays. A file says
    everything: it is checked to the last key, and takes no other options.
    """
    from pydantic import ValidationError

    from serve.app import AppArgs
    from serve.deployment.config import (
        check_config,
        first_problem,
        make_config,
        read_config,
        trust_in_network,
    )

    settings = Settings()
    if file is not None:
        _nothing_else(context)
        config = read_config(file)
        trust_network = trust_in_network(config, trust_network)
    else:
        if most_replicas is not None and most_replicas < replicas:
            raise ServeError(
                f"--most-replicas {most_replicas}: expected at least --replicas, {replicas}"
            )
        try:
            args = AppArgs(
                base=_base(settings) if base is None else base,
                replicas=replicas,
                most_replicas=most_replicas,
                ingresses=ingresses,
                gpus=gpus,
                cpus=cpus,
                accelerator=accelerator,
                keys_asked=not without_keys,
                trust_network=trust_network,
                **sizes(
                    slots, slot_tokens, kv_gib, adapters, cuda_graphs, parse_control_tokens
                ).model_dump(),
            )
        except ValidationError as error:
            raise ServeError(f"--{first_problem(error)}") from None
        config = make_config(args, host, port)
        check_config(config, "these options")
    if write is not None:
        _write(config, write)
        return
    dashboard = dashboard_address(settings, address)
    check_cluster(dashboard, trust_network)
    from serve.deployment import remote

    remote.deploy(dashboard, config)
    _advise(settings, config)
    if not wait:
        typer.echo("deploying; `alignery serve status` shows how far it is", err=True)
        if as_json:
            print_json(asdict(remote.state(dashboard)))
        return
    last = _followed(dashboard, wait)
    if as_json:
        print_json(asdict(last))
    if last.status != remote.RUNNING:
        timeout = "" if last.status in remote.FAILED else f"not ready after {wait:g} s: "
        raise ServeError(f"{timeout}{last.problem}; `alignery serve status` shows how it goes on")
    if not as_json:
        typer.echo(_served(config, last))


@serve_app.command("status")
def status(address: AddressOption = None, as_json: JsonOption = False) -> None:
    """Show what of the endpoint runs on the cluster. Exits with 1 unless all of it does."""
    from serve.deployment import remote

    current = remote.state(dashboard_address(Settings(), address))
    if as_json:
        print_json(asdict(current))
    else:
        _show(current)
    if current.status != remote.RUNNING:
        raise typer.Exit(1)


@serve_app.command("down")
def down(address: AddressOption = None, wait: Wait = 120) -> None:
    """End the endpoint on the cluster; what others serve there stays."""
    from serve.deployment import remote

    existed = remote.take_down(dashboard_address(Settings(), address), wait)
    message = "the endpoint has ended" if wait else "the endpoint ends"
    typer.echo(message if existed else "there is no endpoint", err=True)


def _advise(settings: Settings, config: dict[str, Any]) -> None:
    """Name the check of GPUs if engines compute on such that have never passed it."""
    from cluster.gpu_checks import hint

    (application,) = config["applications"]
    args = application.get("args", {})
    if args.get("gpus") and (advice := hint(settings, args.get("accelerator"))):
        typer.echo(advice, err=True)


def _base(settings: Settings) -> str:
    from cluster.registry import open_registry

    return champions_base(open_registry(settings), "deploy")


def _nothing_else(context: typer.Context) -> None:
    """ServeError if options of the config are set on the command line beside a file."""
    options = [
        option.opts[0]
        for option in context.command.params
        if option.name not in _HOW and _typed(context, str(option.name))
    ]
    if options:
        raise ServeError(f"{', '.join(options)} beside a file: write it into the file")


def _typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _write(config: dict[str, Any], file: Path) -> None:
    import yaml

    text = yaml.safe_dump(config, sort_keys=False)
    if str(file) == "-":
        typer.echo(text, nl=False)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ServeError(f"--write {file}: {error.strerror or error}") from None
    typer.echo(f"`alignery serve deploy {file}` deploys it", err=True)


def _followed(address: str, seconds: float) -> EndpointState:
    """Follow the endpoint and print each change of its state. Returns the last state."""
    from serve.deployment.remote import states

    began, printed = time.monotonic(), ""
    for last in states(address, seconds):
        replicas = ", ".join(
            f"{deployment.name} {deployment.running} of {deployment.target}"
            for deployment in last.deployments
        )
        line = f"{last.status.lower().replace('_', ' ')}" + (f": {replicas}" if replicas else "")
        if line != printed:
            typer.echo(f"{time.monotonic() - began:4.0f} s  {line}", err=True)
            printed = line
    return last


def _served(config: dict[str, Any], endpoint: EndpointState) -> str:
    (application,) = config["applications"]
    args, port = application["args"], (endpoint.listens or "").rpartition(":")[2]
    keys = "an API key is asked for" if args.get("keys_asked") else "no API key is asked for"
    return (
        f"serving {args['base']} at port {port} of the cluster's machines, path /v1; {keys}. On "
        f"Kubernetes: `kubectl port-forward service/<cluster>-serve-svc {port}`"
    )


def _show(endpoint: EndpointState) -> None:
    typer.echo(endpoint.status + (f" on {endpoint.listens}" if endpoint.listens else ""))
    if endpoint.deployments:
        rows = [
            (
                deployment.name,
                deployment.status,
                f"{deployment.running} of {deployment.target}",
            )
            for deployment in endpoint.deployments
        ]
        print_table(("deployment", "status", "replicas"), rows)
    if endpoint.problem:
        typer.echo(endpoint.problem)
