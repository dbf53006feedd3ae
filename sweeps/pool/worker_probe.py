"""What a worker's machine reaches: runs there. Imports little, as it starts on every machine."""

from __future__ import annotations

import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from align.errors import AligneryError
from cluster.settings import Settings
from cluster.storage import Storage

#: What trials need in a worker.
_NEEDED = "sweeps.pool.trainable"
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Probe:
    """What a worker is to find: settings, a nonce that the driver wrote, and a base's folder."""

    settings: dict[str, str | None]
    nonce: str
    base: str | None = None


def find_fault(probe: Probe) -> str:
    """What is out of reach on this machine, or nothing."""
    settings = Settings(**probe.settings)
    try:
        fault = (
            _home_fault(settings)
            or _database_fault(settings, probe.nonce)
            or _storage_fault(settings, probe.nonce)
            or _base_fault(probe.base)
        )
    except AligneryError as error:
        return f"cannot work: {error}"
    import_module(_NEEDED)
    return fault


def nonce_key(nonce: str) -> str:
    """Where in storage the driver wrote it."""
    return f"checks/{nonce}"


def lock_number(nonce: str) -> int:
    """PostgreSQL's advisory locks are 64-bit numbers."""
    return int(nonce[:15], 16)


def _home_fault(settings: Settings) -> str:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=settings.home):
            return ""
    except OSError as error:
        return (
            f"cannot write the home folder {settings.home} ({error.strerror}); set ALIGNERY_HOME "
            "to a folder that every machine can make, such as /tmp/alignery"
        )


def _database_fault(settings: Settings, nonce: str) -> str:
    if settings.database_url.startswith(_SQLITE):
        file = Path(settings.database_url.removeprefix(_SQLITE))
        if (file.parent / "locks" / f"{nonce}.nonce").is_file() and file.is_file():
            return ""
        return (
            f"cannot see the database {file}: a SQLite file lies on one machine; set "
            "ALIGNERY_DATABASE_URL to a PostgreSQL database that all machines reach"
        )
    from sqlalchemy import make_url, text

    from cluster.database.connection import make_engine

    url = make_url(settings.database_url)
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            key = {"key": lock_number(nonce)}
            other = connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), key)
    except Exception as error:  # the driver's many kinds; each means the same here
        cause = " ".join(str(getattr(error, "orig", None) or error).split())
        other, why = True, f": {cause.replace(str(url.password), '***')}"
    else:
        why = ": another one answers there"
    finally:
        engine.dispose()
    if not other:
        return ""
    shown = url.render_as_string(hide_password=True)
    return (
        f"do not reach the database {shown}{why}; give ALIGNERY_DATABASE_URL a host that all "
        "machines know, and let the server listen to them"
    )


def _storage_fault(settings: Settings, nonce: str) -> str:
    storage, own = Storage(settings), f"{nonce_key(nonce)}-{uuid.uuid4().hex}"
    if not storage.exists(nonce_key(nonce)):
        local = "://" not in settings.storage
        why = "a folder lies on one machine; " if local else ""
        return (
            f"do not see in storage {settings.storage} what this machine wrote: {why}set "
            "ALIGNERY_STORAGE to a bucket (s3://… or gs://…) or a folder that all machines share"
        )
    try:
        storage.put_folder(storage.get_folder(nonce_key(nonce)), own)
        storage.get_folder(own)
    finally:
        with suppress(AligneryError):
            storage.delete(own)
    return ""


def _base_fault(base: str | None) -> str:
    if base is None or (Path(base) / "config.json").is_file():
        return ""
    return (
        f"do not see the base {base}: a folder of this machine; put it where all machines have "
        "it under the same path, or name a model of the hub"
    )
