"""`alignery serve run`."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from align.inference.options import EngineOptions
from align.sources import check_base
from cluster.local_calls import needs_proxy_off
from cluster.settings import Settings
from serve.addresses import listens_on_loopback
from serve.commands.common import (
    BankAdapters,
    Base,
    CudaGraphs,
    KvGib,
    ParseControlTokens,
    Slots,
    SlotTokens,
    WithoutKeysHere,
    champions_base,
    serve_app,
    sizes,
)
from serve.errors import ServeError
from serve.free_resources import check_gpus

if TYPE_CHECKING:
    from cluster.registry import Registry
    from serve.access.key import Key
    from serve.experiments import Experiments


#: The number of models that a starting server lists; GET /v1/models lists all.
SHOWN_MODELS = 20


@serve_app.command("run")
def run(
    base: Base = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 8000,
    cpus: Annotated[
        int | None, typer.Option(min=1, help="CPUs of the engine. Default: all free ones.")
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="GPUs of the engine: a part of a card such as 0.5; 0 computes on the CPU. "
            "Default: a card if there is one.",
        ),
    ] = None,
    slots: Slots = EngineOptions.slots,
    slot_tokens: SlotTokens = EngineOptions.slot_tokens,
    kv_gib: KvGib = None,
    adapters: BankAdapters = EngineOptions.adapters,
    cuda_graphs: CudaGraphs = EngineOptions.cuda_graphs,
    parse_control_tokens: ParseControlTokens = EngineOptions.parse_control_tokens,
    without_keys: WithoutKeysHere = False,
) -> None:
    """Serve until Ctrl-C: base, all adapters trained on it, and running experiments."""
    remote = not listens_on_loopback(host)
    size = sizes(slots, slot_tokens, kv_gib, adapters, cuda_graphs, parse_control_tokens)
    if gpus is not None:
        check_gpus(gpus)
    settings = Settings()
    from cluster.database import open_database
    from cluster.registry import Registry
    from cluster.storage import Storage
    from serve.access.keys import Keys
    from serve.experiments import Experiments
    from serve.server import check_port

    if port:
        check_port(host, port)
    local = settings.ray_address is None  # a cluster may have bases that this machine lacks
    if base is not None and local:
        check_base(base)
    database = open_database(settings)
    registry = Registry(database, Storage(settings))
    if remote and not without_keys:
        check_keys(host, Keys(database).every())
    if base is None:
        base = champions_base(registry, "run")
        if local:
            check_base(base)
    keys_asked = False if without_keys else (remote or None)
    typer.echo(f"loading {base} …", err=True)
    from cluster.ray import ray_session
    from serve.server import running_server

    try:
        with (
            ray_session(settings, num_cpus=cpus),
            running_server(
                settings, base, host, port or None, cpus, size, keys_asked, gpus=gpus
            ) as url,
        ):
            names, chats = _models(registry, Experiments(database, registry), base)
            keys = keys_asked is not False and bool(keys_asked or Keys(database).every())
            typer.echo(_greeting(url, base, names, chats, keys))
            signal.pause()
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)


def check_keys(host: str, keys: Sequence[Key]) -> None:
    """ServeError if no key is valid: all are revoked, or there are none."""
    if all(key.revoked_at is not None for key in keys):
        raise ServeError(
            f"--host {host} can be reached from other machines, and there is no API key: make one "
            "with `alignery serve key create`, use 127.0.0.1, or say --without-keys if whoever "
            "reaches the port may use it"
        )


def _models(registry: Registry, experiments: Experiments, base: str) -> tuple[list[str], list[str]]:
    """All model names served on `base`, and those of chat models other than the base."""
    versions = [version for version in registry.versions() if version.base == base]
    methods = [
        (name, version.method)
        for version in versions
        for name in (version.name, *(f"{version.line}@{alias}" for alias in version.aliases))
    ]
    running = [info.name for info in experiments.running()]
    chats = [name for name, method in methods if method != "reward"] + running
    return ["base", *(name for name, _ in methods), *running], chats


def _greeting(url: str, base: str, names: list[str], chats: list[str], keys: bool) -> str:
    """The message of a started server: its URL, its models and an example request."""
    example = next((name for name in chats if "@" in name), [*chats, "base"][0])
    body = json.dumps({"model": example, "messages": [{"role": "user", "content": "Hello"}]})
    key = ["  -H 'authorization: Bearer '$ALIGNERY_API_KEY \\"] if keys else []
    curl = "curl --noproxy '*'" if needs_proxy_off(url) else "curl"
    return "\n".join(
        [
            f"serving {base} at {url}/v1",
            "models:",
            *(f"  {name}" for name in names[:SHOWN_MODELS]),
            *([f"  … and {len(names) - SHOWN_MODELS} more"] if len(names) > SHOWN_MODELS else []),
            "try:",
            f"  {curl} {url}/v1/chat/completions -H 'content-type: application/json' \\",
            *key,
            f"    -d '{body}'",
            "Ctrl-C stops it.",
        ]
    )
