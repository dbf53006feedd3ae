"""A real endpoint that is asked all the time, while its PostgreSQL is away for a minute.

Half of it the server is gone and refuses connections, and half of it it hangs: its processes are
stopped, so the kernel takes what they are sent and nobody ever answers.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from sqlalchemy import select

from cluster.database import open_database
from cluster.database.tables import Exposure
from cluster.ray import ray_session
from cluster.registry import AdapterVersion, Registry
from cluster.settings import Settings
from cluster.storage import Storage
from serve.access.keys import Keys
from serve.experiments import Experiments, VariantSpec
from serve.server import running_server
from serve.sizes import Sizes
from tests.serve.asking import LINE, TOKENS, Load, connect, right_answers
from tests.serve.real_adapters import BASE, installation, real_adapter

pytestmark = pytest.mark.chaos

AWAY_SECONDS = 30  # twice: refused, and hanging
PATIENCE = 20.0  # of whoever asks while the database is away, or until it is noticed
BACK_SECONDS = 30.0  # until all is well again
TRIAL = "trial"
RATINGS = 48  # at once: more than there are threads for


class Postgres:
    """A server of the test's own on a free loopback port."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._data = folder / "data"
        password = secrets.token_hex(16)
        (folder / "password").write_text(password)
        self._as_owner("initdb", "--username", "postgres", "--encoding", "UTF8", "--locale", "C",
                       "--auth", "scram-sha-256", "--pwfile", str(folder / "password"))  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"postgresql+psycopg://postgres:{password}@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c port={self._port} -c fsync=off -k {self._data}"
        log = str(self._data / "server.log")
        self._as_owner("pg_ctl", "start", "--log", log, "--wait", "--options", options)

    def stop(self) -> None:
        self._as_owner("pg_ctl", "stop", "--mode", "immediate")

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Connections break, and new ones are refused."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Connections stay, and new ones are taken by the kernel; nothing is ever answered."""
        server = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
        server.suspend()  # first, so that it starts no more
        processes = server.children(recursive=True)
        for one in processes:
            one.suspend()
        try:
            yield
        finally:
            for one in [*processes, server]:
                with suppress(psutil.NoSuchProcess):
                    one.resume()

    def _as_owner(self, program: str, *arguments: str) -> None:
        """PostgreSQL refuses to run as root."""
        owner: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []}
        subprocess.run(
            [self._programs / program, "--pgdata", self._data, *arguments],
            cwd="/",
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            **(owner if os.getuid() == 0 else {}),
        )


def programs() -> Path | None:
    """Where PostgreSQL's programs are on this machine, found as .ci/run finds them."""
    if (found := shutil.which("pg_ctl")) is not None:
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed")
    if (found := programs()) is None:
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are root's alone
        if os.getuid() == 0:
            shutil.chown(name, "postgres", "postgres")
        made = Postgres(found, Path(name))
        made.start()
        try:
            yield made
        finally:
            made.stop()


@dataclass
class Installation:
    """What is in the database of the endpoint, and its only key."""

    settings: Settings
    registry: Registry
    experiments: Experiments
    versions: list[AdapterVersion]
    key: str

    def exposures(self) -> dict[str, str]:
        """Variants by the id of the answer."""
        database = open_database(self.settings)
        with database.session(write=False) as session:
            rows = session.execute(select(Exposure.request_id, Exposure.variant)).tuples().all()
        database.close()
        return dict(rows)


@pytest.fixture(scope="module")
def installed(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Two versions, of which the first is champion, an experiment between them, and a key."""
    folder = tmp_path_factory.mktemp("away")
    with installation(folder) as home:
        settings = Settings(home=home.home, database_url=server.url)
        database = open_database(settings)
        registry = Registry(database, Storage(settings))
        versions = [
            registry.register(LINE, real_adapter(folder / f"made-{seed}", "sft", seed))
            for seed in (0, 1)
        ]
        registry.promote(LINE, 1)
        experiments = Experiments(database, registry)
        arms = [VariantSpec(name=f"v{n}", model=f"{LINE}:{n}") for n in (1, 2)]
        experiments.start(TRIAL, arms, "v1", 100)
        _, key = Keys(database).create("load", ["infer", "feedback"], tokens_per_day=10**9)
        yield Installation(settings, registry, experiments, versions, key)
        database.close()


@pytest.fixture(scope="module")
def url(installed: Installation) -> Iterator[str]:
    sizes = Sizes(slots=12, slot_tokens=500, kv_gib=0.5, adapters=2)
    settings = installed.settings
    with (
        ray_session(settings, num_cpus=1),
        running_server(settings, BASE, cpus=1, sizes=sizes) as url,
    ):
        yield url


@dataclass
class Users(Load):
    """Ten users who ask for the experiment; who answers is a variant."""

    clients: int = 2
    places: set[tuple[str, str]] = field(default_factory=set)  # user, variant
    noted: dict[str, str] = field(default_factory=dict)  # variants by the id of the answer

    def ask(self, client: openai.OpenAI, number: int, prompt: str) -> tuple[str, str]:
        user = f"user-{len(self.noted) % 10}"
        raw = client.completions.with_raw_response.create(
            model=TRIAL, prompt=prompt, max_tokens=TOKENS, temperature=0, user=user
        )
        whole, variant = raw.parse(), raw.headers["x-alignery-variant"]
        self.places.add((user, variant))
        self.noted[whole.id] = variant
        return variant, whole.choices[0].text


def test_the_database_away_for_a_minute(server, installed, url):
    right = right_answers(url, installed.registry, installed.key)
    variants = {one.adapter_id: f"v{one.number}" for one in installed.versions}
    asking = {"key": installed.key, "timeout": PATIENCE}
    with Load(url, clients=4, **asking) as champions, Users(url, **asking) as users:
        for away, promoted in ((server.gone, 2), (server.hanging, 1)):
            champions.more(), users.more()
            before = set(users.noted)
            with away():
                until = time.monotonic() + AWAY_SECONDS
                away_is_told(url, installed.key, rated=next(iter(before)))
                while time.monotonic() < until:
                    champions.more(), users.more()
            back_is_told(url, installed, sorted(set(users.noted) - before))
            follows(url, installed, promoted)
    assert set(champions.answers) <= right
    assert set(users.answers) == {(prompt, variants[who], text) for prompt, who, text in right}
    assert len(users.places) == len({user for user, _ in users.places}) == 10
    in_time(BACK_SECONDS, lambda: installed.exposures() == users.noted)


def away_is_told(url: str, key: str, rated: str) -> None:
    """What cannot be had without the database is refused soon; the rest is as ever."""
    known = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, timeout=PATIENCE, headers=known) as http:

        def rate(_: int) -> int:
            body = {"request_id": rated, "value": 1}
            return http.post("/v1/feedback", json=body).status_code

        def ask(model: str, **more: Any) -> int:
            body = {"model": model, "prompt": "one", "max_tokens": 1}
            return http.post("/v1/completions", json=body, **more).status_code

        with ThreadPoolExecutor(RATINGS) as pool:
            ratings = pool.map(rate, range(RATINGS))
            assert ask(f"{LINE}:99") in (404, 503) and ask("nothing") in (404, 503)
            stranger = f"Bearer alk-{secrets.token_hex(4)}-{secrets.token_urlsafe(32)}"
            assert ask("base", headers={"authorization": stranger}) == 401
            assert set(ratings) == {503}
        in_time(PATIENCE, lambda: bool(ready(http).get("database")))
        assert ask("base") == ask(f"{LINE}:2") == 200
        assert {one["id"] for one in http.get("/v1/models").json()["data"]} > {TRIAL, "base"}


def back_is_told(url: str, installed: Installation, answered: list[str]) -> None:
    """The database is no trouble any more, and what was answered without it can be rated."""
    known = {"authorization": f"Bearer {installed.key}"}
    with httpx.Client(base_url=url, timeout=PATIENCE, headers=known) as http:
        in_time(BACK_SECONDS, lambda: "database" not in ready(http))
        in_time(BACK_SECONDS, lambda: set(answered) <= set(installed.exposures()))
        assert len(answered) > 20
        ratings = [{"request_id": one, "value": 1} for one in answered[:5] + answered[-5:]]
        in_time(
            BACK_SECONDS,
            lambda: all(http.post("/v1/feedback", json=one).is_success for one in ratings),
        )


def follows(url: str, installed: Installation, number: int) -> None:
    """A promotion is heard of; two seconds are promised, and the machine may be busy."""
    client = connect(url, installed.key)
    installed.registry.promote(LINE, number)
    wanted = installed.versions[number - 1].adapter_id

    def answers() -> bool:
        asked = {"model": LINE, "prompt": "one", "max_tokens": 1}
        return bool(client.completions.create(**asked).system_fingerprint == wanted)

    in_time(10, answers)


def ready(http: httpx.Client) -> dict[str, Any]:
    response = http.get("/readyz")
    assert response.status_code == 200, response.text
    return dict(response.json())


def in_time(seconds: float, holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
