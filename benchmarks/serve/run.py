"""The endpoint, its engine alone and a stub, one after the other, asked by the same bodies."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.adapters import AdapterPool
from benchmarks.errors import BenchmarkError
from benchmarks.progress import Progress
from benchmarks.serve.load import Loaded, Spec, read_loaded
from benchmarks.serve.peers import Peer, known_peers, peers_of, served
from cluster.settings import Settings as Installation
from cluster.settings import sqlite_url
from serve.sizes import Sizes

LINE = "bench/sft"
RANK = 8
#: Clients that ask for one answer after the other; those who come at 80 % of saturation are more.
CROWD, ALONE, LATE = 128, 24, 96


@dataclass(frozen=True)
class Settings:
    """What to measure: `clients` at a time ask for `tokens` each, of `adapters` in turn."""

    base: str
    clients: int = 32
    tokens: int = 48
    adapters: int = 8
    repeats: int = 3
    python: Path | None = None  # that has peers


@dataclass(frozen=True)
class Measured:
    """Runs of one contender: a crowd's whole answers, streamed ones, and one client's alone."""

    whole: list[Loaded]
    streamed: list[Loaded]
    single: list[Loaded]
    late: Loaded | None = None  # streamed, at 80 % of saturation

    def __add__(self, more: Measured) -> Measured:
        return Measured(
            self.whole + more.whole,
            self.streamed + more.streamed,
            self.single + more.single,
            more.late or self.late,
        )


@dataclass(frozen=True)
class Contest:
    """Everybody's runs; peers by name, version and what they serve, or why they did not."""

    engine: Measured
    endpoint: Measured
    stub: Measured
    peers: dict[tuple[str, str, str], Measured | str] = field(default_factory=dict)


def measure(settings: Settings) -> Contest:
    """All of it; about eight minutes on two cores. BenchmarkError if a request fails."""
    names = [peer.name for peer, _ in _peers(settings, {})]  # before anything takes time
    progress = Progress([*["endpoint", "engine"] * settings.repeats, "stub", *names])
    with tempfile.TemporaryDirectory(prefix="alignery-bench-") as temporary:
        folder = Path(temporary)
        folders = _adapters(settings, folder / "adapters")
        installation = _installation(folder / "home", settings, folders)
        bodies = _bodies(settings, CROWD), _bodies(settings, ALONE)
        sizes = Sizes(slots=settings.clients, adapters=settings.adapters, slot_tokens=512)
        endpoint, runs = Measured([], [], []), []
        for left in reversed(range(settings.repeats)):  # in turns: a machine's speed drifts
            with _endpoint(installation, settings.base, sizes, stub=False) as url:
                once = replace(settings, repeats=1)
                endpoint += _asked(once, folder, url, *bodies, late=not left)
            progress.run("the endpoint")
            runs.append(_alone(settings, folder, folders, sizes, *bodies))
            progress.run("the engine alone")
        with _endpoint(installation, settings.base, sizes, stub=True) as url:
            stub = _asked(settings, folder, url, *bodies, late=False)
        progress.run("a stub that only streams")
        others: dict[tuple[str, str, str], Measured | str] = {}
        for peer, version in _peers(settings, folders):
            assert settings.python is not None  # there is a peer
            about = peer.name, version, peer.note
            try:
                with served(settings.python, peer) as url:
                    others[about] = _asked(
                        settings, folder, url, *bodies, late=False, as_=peer.translated
                    )
            except BenchmarkError as error:  # what was measured before it is worth something
                others[about] = str(error)
            progress.run(peer.name)
    crowd, single = zip(*runs, strict=True)
    return Contest(Measured(list(crowd), list(crowd), list(single)), endpoint, stub, others)


def _peers(settings: Settings, folders: dict[str, Path]) -> list[tuple[Peer, str]]:
    """Those that the named Python has, with their versions."""
    if settings.python is None:
        return []
    return peers_of(settings.python, known_peers(settings.base, folders, RANK, settings.clients))


def _bodies(settings: Settings, count: int) -> list[dict[str, Any]]:
    """Chats of about 60 tokens, each for the next adapter, with answers of one length."""
    from align.data.arithmetic import asked, problems

    stream = problems(0, "live")
    return [
        {
            "model": f"{LINE}:{1 + number % settings.adapters}",
            "messages": asked(next(stream)),
            "max_tokens": settings.tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        for number in range(count)
    ]


def _adapters(settings: Settings, root: Path) -> dict[str, Path]:
    """Random adapters, with manifests that a registry takes, by the name they will have."""
    from align.adapters import Manifest, adapter_id, write_manifest
    from align.base import load_base

    base = load_base(settings.base)
    pool, made = AdapterPool(base, root), {}
    for number in range(1, settings.adapters + 1):
        folder = pool.folder(f"r{RANK}-{number}")
        manifest = Manifest(
            id=adapter_id(folder),
            base=settings.base,
            base_digest=base.digest,
            line=LINE,
            method="sft",
            rank=RANK,
        )
        write_manifest(folder, manifest)
        made[f"{LINE}:{number}"] = folder
    return made


def _installation(home: Path, settings: Settings, folders: dict[str, Path]) -> Installation:
    from cluster.registry import open_registry

    home.mkdir()
    models = Installation().home / "models"  # what an installation has after its first minute
    models.mkdir(parents=True, exist_ok=True)
    (home / "models").symlink_to(models)
    own = {"database_url": sqlite_url(home / "alignery.db"), "storage": str(home / "storage")}
    installation = Installation(home=home, **own)
    registry = open_registry(installation)
    for folder in folders.values():
        registry.register(LINE, folder)
    return installation


@contextmanager
def _endpoint(installation: Installation, base: str, sizes: Sizes, stub: bool) -> Iterator[str]:
    from benchmarks.serve.stub import build_stub
    from cluster.ray import ray_session
    from serve.server import running_server

    application = build_stub if stub else None
    with (
        ray_session(installation),
        running_server(installation, base, sizes=sizes, application=application) as url,
    ):
        yield url


def _asked(
    settings: Settings,
    folder: Path,
    url: str,
    crowd: list[dict[str, Any]],
    alone: list[dict[str, Any]],
    late: bool,
    as_: Callable[[dict[str, Any]], dict[str, Any]] = dict,  # a server takes a body
) -> Measured:
    where = f"{url}/v1/chat/completions"

    def load(bodies: list[dict[str, Any]], **how: Any) -> Loaded:
        return _load(folder, Spec(where, [as_(one) for one in bodies], **how))

    streamed, single = _streamed(crowd), _streamed(alone)
    load(crowd[: settings.clients], clients=settings.clients)  # everybody is loaded and warm
    found = Measured([], [], [])
    for _ in range(settings.repeats):
        found.whole.append(load(crowd, clients=settings.clients))
        found.streamed.append(load(streamed, clients=settings.clients))
        found.single.append(load(single))
    if not late:
        return found
    most = max(one.tokens_a_second for one in found.streamed) / settings.tokens
    many = (streamed * (1 + LATE // len(streamed)))[:LATE]
    return Measured(found.whole, found.streamed, found.single, load(many, rate=0.8 * most))


def _streamed(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**one, "stream": True, "stream_options": {"include_usage": True}} for one in bodies]


def _load(folder: Path, spec: Spec) -> Loaded:
    found = read_loaded(_process(folder, "benchmarks.serve.load", asdict(spec)))
    if found.failed:
        raise BenchmarkError(f"{found.failed} of {len(found.asked)} requests to {spec.url} failed")
    return found


def _alone(
    settings: Settings,
    folder: Path,
    folders: dict[str, Path],
    sizes: Sizes,
    crowd: list[dict[str, Any]],
    alone: list[dict[str, Any]],
) -> tuple[Loaded, Loaded]:
    warm = crowd[: settings.clients]
    spec = {
        "base": settings.base,
        "adapters": {name: str(one) for name, one in folders.items()},
        "sizes": sizes.model_dump(),
        "runs": [(warm, settings.clients), (crowd, settings.clients), (_streamed(alone), 1)],
    }
    out = _process(folder, "benchmarks.serve.alone", spec)
    _, many, single = json.loads(out.read_text(encoding="utf-8"))
    return Loaded.of(many), Loaded.of(single)


def _process(folder: Path, module: str, spec: dict[str, Any]) -> Path:
    """The file that the module wrote, in a process of its own."""
    wanted, out = folder / "spec.json", folder / "out.json"
    wanted.write_text(json.dumps(spec), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", module, str(wanted), str(out)], stderr=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        raise BenchmarkError(f"{module} failed: {done.stderr.strip().splitlines()[-1:]}")
    return out
