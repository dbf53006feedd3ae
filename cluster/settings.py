"""Settings of an installation, from `ALIGNERY_*` variables, a `.env` file, or arguments."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cluster.errors import SettingsError

PREFIX = "ALIGNERY_"

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_RAY_ADDRESS = re.compile(r"(auto|(ray://)?[^\s:/@]+:\d{1,5})")
_JOBS_ADDRESS = re.compile(r"https?://[^\s:/@?#]+(:\d{1,5})?(/[^\s@?#]*)?")


def _absolute(path: str | Path) -> Path:
    return Path.cwd() / Path(path).expanduser()


class Settings(BaseSettings):
    """Settings of one installation. Creating an instance only reads the environment.

    Relative paths count from the working directory. SettingsError names the variable at fault.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",  # a .env may hold variables of other programs
        frozen=True,
        validate_default=True,
    )

    #: Folder for everything that has no other place.
    home: Path = Path("~/.alignery")
    #: `sqlite:///…` or `postgresql+psycopg://…`; may hold a password, so it is not printed.
    database_url: str = Field(
        default_factory=lambda values: f"sqlite:///{values['home'] / 'alignery.db'}", repr=False
    )
    #: Root of all artifacts: a path, `s3://bucket/prefix` or `gs://bucket/prefix`.
    storage: str = Field(default_factory=lambda values: str(values["home"] / "storage"))
    #: `host:port`, `ray://host:port` or `auto`; None starts a local Ray.
    ray_address: str | None = None
    #: `http://host:8265`: where a cluster's Ray takes jobs.
    jobs_address: str | None = None

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_message(error)) from None
        except UnicodeDecodeError:
            raise SettingsError(f"{_absolute('.env')}: not UTF-8 text") from None

    @field_validator("home")
    @classmethod
    def _home(cls, home: Path) -> Path:
        home = _absolute(home)
        if home.exists() and not home.is_dir():
            raise ValueError(f"'{home}' is a file; a folder is needed")
        return home

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, url: str) -> str:
        allowed = "allowed: sqlite:///path/to/file.db, postgresql://user@host/database"
        scheme = match.group(1) if (match := _SCHEME.match(url)) else None
        if scheme in ("postgres", "postgresql", "postgresql+psycopg"):
            return re.sub(r"^[^:]+", "postgresql+psycopg", url)
        if scheme not in ("sqlite", "sqlite+pysqlite"):
            raise ValueError(f"unknown kind of database '{scheme or 'no scheme'}'; {allowed}")
        path = re.sub(r"^[^:]+:///?", "", url)
        if path in ("", ":memory:"):
            raise ValueError(f"a database in memory cannot be shared by processes; {allowed}")
        return f"sqlite:///{_absolute(path)}"

    @field_validator("storage")
    @classmethod
    def _storage(cls, storage: str) -> str:
        match = _SCHEME.match(storage)
        if match is None:
            return str(_absolute(storage))
        if match.group(1) not in ("s3", "gs"):
            raise ValueError(
                f"unknown kind of storage '{match.group(1)}'; "
                "allowed: a folder, s3://bucket/prefix, gs://bucket/prefix"
            )
        if not storage[match.end() :].strip("/"):
            raise ValueError(f"'{storage}' names no bucket")
        return storage.rstrip("/")

    @field_validator("ray_address")
    @classmethod
    def _ray_address(cls, address: str | None) -> str | None:
        if address is not None and not _RAY_ADDRESS.fullmatch(address):
            raise ValueError(
                f"{address!r} is no address; allowed: host:port, ray://host:port, auto "
                "(unset it to start a local Ray)"
            )
        return address

    @field_validator("jobs_address")
    @classmethod
    def _jobs_address(cls, address: str | None) -> str | None:
        if address is not None and not _JOBS_ADDRESS.fullmatch(address):
            raise ValueError(
                "no address of Ray's dashboard; allowed: http://host:8265, or https:// behind a "
                "proxy, without user or password"
            )
        return None if address is None else address.rstrip("/")


def _message(error: ValidationError) -> str:
    """All invalid variables in one line, without their values, which may hold a password."""
    return "; ".join(
        f"{PREFIX}{str(details['loc'][0]).upper()}: {details['msg'].removeprefix('Value error, ')}"
        for details in error.errors()
        if details["type"] != "default_factory_not_called"
    )
