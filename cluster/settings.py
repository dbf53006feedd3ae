"""Settings of an installation, from `ALIGNERY_*` variables, a `.env` file, or arguments."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cluster.errors import SettingsError

if TYPE_CHECKING:
    from sqlalchemy import URL

PREFIX = "ALIGNERY_"

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_RAY_ADDRESS = re.compile(r"(auto|(ray://)?[^\s:/@]+:\d{1,5})")
_JOBS_ADDRESS = re.compile(r"https?://[^\s:/@?#]+(:\d{1,5})?(/[^\s@?#]*)?")
#: Parameters of a SQLite URL that the driver takes.
_SQLITE_OPTIONS = frozenset(
    ("timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements")
)


def _absolute(path: str | Path) -> Path:
    """The path from the working directory. ValueError for the home of an unknown user."""
    try:
        return Path.cwd() / Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"'{path}': {error}") from None


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
    #: `sqlite:///…` or `postgresql+psycopg://…`, percent-encoded as URLs are; may hold a password,
    #: so it is not printed.
    database_url: str = Field(
        default_factory=lambda values: sqlite_url(values["home"] / "alignery.db"), repr=False
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

    @property
    def database_file(self) -> Path | None:
        """The file of a SQLite database; None for PostgreSQL."""
        from sqlalchemy import make_url

        url = make_url(self.database_url)
        return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None

    @property
    def database_name(self) -> str:
        """The database as people write it: a SQLite file's path, or a URL without its password."""
        from sqlalchemy import make_url

        return str(self.database_file or make_url(self.database_url).render_as_string())

    @field_validator("home")
    @classmethod
    def _home(cls, home: Path) -> Path:
        home = _absolute(home)
        if "::" in str(home):  # fsspec, by which data sets are written, would end the path there
            raise ValueError(f"'{home}' holds '::', where libraries cut a path; rename it")
        try:
            str(home).encode()
            if home.exists() and not home.is_dir():
                raise ValueError(f"'{home}' is a file; a folder is needed")
        except UnicodeEncodeError:
            raise ValueError(f"{str(home)!a} is not UTF-8; rename the folder") from None
        except OSError as error:
            raise ValueError(f"'{str(home)[:80]}': {error.strerror or error}") from None
        return home

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, url: str) -> str:
        allowed = "allowed: sqlite:///path/to/file.db, postgresql://user@host/database"
        scheme = match.group(1) if (match := _SCHEME.match(url)) else None
        if scheme in ("postgres", "postgresql", "postgresql+psycopg"):
            return _postgres_url(re.sub(r"^[^:]+", "postgresql+psycopg", url))
        if scheme not in ("sqlite", "sqlite+pysqlite"):
            raise ValueError(f"unknown kind of database '{scheme or 'no scheme'}'; {allowed}")
        parsed = _parsed("sqlite:///" + re.sub(r"^[^:]+:///?", "", url))
        if parsed.database in (None, "", ":memory:"):
            raise ValueError(f"a database in memory cannot be shared by processes; {allowed}")
        names = {part.partition("=")[0] for part in url.partition("?")[2].split("&") if part}
        if unknown := sorted(names - _SQLITE_OPTIONS):
            raise ValueError(
                f"unknown parameter '{unknown[0]}' behind the ?; in a path a ? is written %3F"
            )
        if parsed.query:
            parsed = parsed.set(database=str(_absolute(str(parsed.database))))
            return parsed.render_as_string(hide_password=False)
        return sqlite_url(_absolute(str(parsed.database)))

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
        if wrong := re.search(r"[^!$-~]", storage):  # a URL would end at its #
            raise ValueError(
                f"{wrong.group()!r} within a URL is written {quote(wrong.group(), safe='')}"
            )
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


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite file. Characters that mean something in a URL are percent-encoded."""
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(file)).render_as_string()


def _postgres_url(url: str) -> str:
    """The URL, unchanged. ValueError if its user or password holds a raw `@` or `/`."""
    parsed = _parsed(url)
    if "@" in (parsed.host or "") or (parsed.username is None and "@" in url.partition("?")[0]):
        raise ValueError(
            "user and password are percent-encoded in a URL: write %40 for @, %2F for /, "
            "%3A for :, %25 for %"
        )
    return url


def _parsed(url: str) -> URL:
    """The parts of a URL. ValueError without its text, which may hold a password."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(
            "no database URL; expected e.g. postgresql://user:password@host:5432/alignery"
        ) from None


def _message(error: ValidationError) -> str:
    """All invalid variables in one line, without their values, which may hold a password."""
    return "; ".join(
        f"{PREFIX}{str(details['loc'][0]).upper()}: {details['msg'].removeprefix('Value error, ')}"
        for details in error.errors()
        if details["type"] != "default_factory_not_called"
    )
