"""What all tests share: a home of their own, one thread for each process, quiet libraries.

Test modules and their helpers are modules of the package `tests` and are imported by their full
names, such as `tests.sweeps.driving`, also by processes that tests start.

`database_settings` makes a contract suite: tests that take it, or a fixture built on it, run on
each kind of database that is supported.
"""

import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["tests.ci.plugin"]

POSTGRES = "ALIGNERY_TEST_POSTGRES_URL"

_HOME = tempfile.TemporaryDirectory(prefix="alignery-tests-")
# Before anything imports torch or Ray; subprocesses and Ray's workers inherit it.
os.environ.update(
    ALIGNERY_HOME=_HOME.name,
    HF_HUB_OFFLINE="1",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    OMP_NUM_THREADS="1",
    RAY_USAGE_STATS_ENABLED="0",
    TOKENIZERS_PARALLELISM="false",
)
for _name in (
    *("ALIGNERY_DATABASE_URL", "ALIGNERY_STORAGE", "ALIGNERY_RAY_ADDRESS", "ALIGNERY_GPU"),
    *("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"),
):
    os.environ.pop(_name, None)

# Tests ask this machine alone, whatever proxy the environment names.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost,::1"


# Processes that tests start, Ray's workers among them, import this tree and its tests, wherever
# another tree is installed.
_TREE = str(Path(__file__).parent.parent)
_OTHERS = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([_TREE, *_OTHERS]))


# A shell without job control has what it runs in the background ignore Ctrl-C, and children inherit
# that: tests that press it would depend on where they were started.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _default_folder() -> Path:
    """Ray's, for whatever is not told another one."""
    return Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray")


# A file is where that folder would be, so that whatever needs it fails. Processes of pytest-xdist
# find that it is so already.
if not _default_folder().is_file():
    _NO_RAY = tempfile.TemporaryDirectory(prefix="alignery-no-ray-")
    os.environ["RAY_TMPDIR"] = _NO_RAY.name
    _default_folder().touch()


@pytest.fixture(scope="session", autouse=True)
def _rays_default_folder_stays_unused() -> Iterator[None]:
    folder = _default_folder()
    yield
    assert folder.is_file() and folder.stat().st_size == 0


@pytest.fixture(autouse=True)
def _no_token_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever uses Ray with tokens has one at home, which tests must not send."""
    monkeypatch.setattr("cluster.token.DEFAULT_FILE", Path(_HOME.name) / "no-token")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home folder; base models stay shared, since unpacking one takes seconds."""
    shared = Path(_HOME.name) / "models"
    shared.mkdir(exist_ok=True)
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "models").symlink_to(shared)
    monkeypatch.setenv("ALIGNERY_HOME", str(folder))
    yield folder


@pytest.fixture(params=["sqlite", "postgresql"])
def database_settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Settings with an empty home and an empty database, once on each kind of database."""
    from cluster.settings import Settings

    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path / "home"))
    if request.param == "sqlite":
        yield Settings(home=tmp_path / "home")
        return
    if POSTGRES not in os.environ:
        pytest.skip(f"set {POSTGRES}=postgresql://user@host/database to test PostgreSQL too")
    with fresh_postgres(os.environ[POSTGRES]) as url:
        yield Settings(home=tmp_path / "home", database_url=url)


@contextmanager
def fresh_postgres(server: str) -> Iterator[str]:
    """The URL of a database of its own on the given server, dropped at the end."""
    from sqlalchemy import create_engine, make_url, text

    from cluster.settings import Settings

    name = f"alignery_test_{uuid.uuid4().hex[:12]}"
    url = make_url(Settings(database_url=server).database_url)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()
