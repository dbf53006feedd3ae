"""Keeping secrets out of jobs: whoever may list a cluster's jobs can read all of their contents."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from cluster.errors import SettingsError
from cluster.settings import PREFIX, Settings

#: Settings that each machine of a cluster must have, and that may hold a password.
BY_REFERENCE = ("database_url", "storage")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TELLING = re.compile(
    r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY", re.IGNORECASE
)
_USERINFO = re.compile(r"://[^/\s@]*:([^/\s@]+)@")
#: As SQLAlchemy reads a database's URL: up to the @, whatever a password holds.
_DATABASE_PASSWORD = re.compile(r"://[^/:@]*:([^@]+)@")
#: Minimum length of a secret's value: files contain shorter values by chance.
_LEAST = 12

_REMEDY = (
    "put it into the cluster's own environment (on Kubernetes a Secret, see infra/kuberay) and "
    "name it with --secret"
)


def needed_variables(settings: Settings, named: Iterable[str]) -> list[str]:
    """Variables that the cluster must have: `named`, and the shared settings that are set here.

    SettingsError if one of `named` is not a variable's name.
    """
    if invalid := [name for name in named if not _VARIABLE.fullmatch(name)]:
        raise SettingsError(
            f"--secret takes a variable's name, such as AWS_SECRET_ACCESS_KEY, and never its "
            f"value; got {len(invalid[0])} characters that are none"
        )
    shared = [
        PREFIX + field.upper() for field in BY_REFERENCE if field in settings.model_fields_set
    ]
    return list(dict.fromkeys([*shared, *named]))


def read_environment(file: Path) -> dict[str, str]:
    """NAME=VALUE lines of a file. SettingsError if it cannot be read or a variable looks secret."""
    from dotenv import dotenv_values

    if not file.is_file():
        raise SettingsError(f"--env-file: no file '{file}'")
    try:
        variables = dotenv_values(file, interpolate=False)
    except UnicodeDecodeError:
        raise SettingsError(f"--env-file: {file}: not UTF-8 text") from None
    for name, value in variables.items():
        if value is None:
            raise SettingsError(f"--env-file: {file}: '{name}' has no value; write {name}=value")
        if _TELLING.search(name) or _USERINFO.search(value):
            raise SettingsError(
                f"--env-file: {name} looks like a secret, and everybody who may list the "
                f"cluster's jobs would read it; {_REMEDY} {name}"
            )
    return {name: str(value) for name, value in variables.items()}


def known_secrets(settings: Settings, named: Iterable[str]) -> dict[str, bytes]:
    """Secret values of this machine by the variable that holds them."""
    secrets = {}
    for field in BY_REFERENCE:
        pattern = _DATABASE_PASSWORD if field == "database_url" else _USERINFO
        if match := pattern.search(getattr(settings, field)):
            secrets[PREFIX + field.upper()] = f":{match.group(1)}@".encode()
    names = {*named, *(name for name in os.environ if _TELLING.search(name))}
    for name in sorted(names - set(secrets)):
        if len(value := os.environ.get(name, "")) >= _LEAST:
            secrets[name] = value.encode()
    return secrets


def check_clean(secrets: Mapping[str, bytes], contents: Iterable[tuple[str, bytes]]) -> None:
    """SettingsError names the first of `contents` (label, bytes) that holds a secret."""
    for label, content in contents:
        for name, value in secrets.items():
            if value in content:
                raise SettingsError(
                    f"{label} contains the value of {name}, and would be readable on the cluster; "
                    f"take it out, {_REMEDY} {name}"
                )
