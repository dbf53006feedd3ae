"""Ray's authentication tokens: a new token for each local Ray, and this machine's own token.

Whoever reaches a port of Ray can run code; with token authentication Ray checks the caller's token
before it reads a request. https://docs.ray.io/en/latest/ray-security/token-auth.html
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from align.paths import expanded
from cluster.compat.ray_core import reload_token
from cluster.errors import ClusterError

#: Ray's own variables: whether callers need a token, the token, and a file that holds it.
MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
#: The file in which Ray looks for the user's token.
DEFAULT_FILE = Path.home() / ".ray" / "auth_token"
HOW_TO_SET = (
    f"set {MODE}=token and {TOKEN}, or {TOKEN_PATH} to a file of mode 600, to that cluster's token"
)


@dataclass(frozen=True)
class Token:
    """A token, and the variable or file that it comes from. Printing it does not show it."""

    value: str = field(repr=False)
    source: str


@contextmanager
def local_token(folder: Path) -> Iterator[Path]:
    """Make every Ray started in the block demand a new random token; yields the token's file.

    The file lies in `folder`, and only this user can read it. This process and its children use
    it within the block, even if the user's own variables have a token of another cluster.
    """
    file = folder / "token"
    _write_private(file, secrets.token_hex(32))
    before = {name: os.environ.get(name) for name in (MODE, TOKEN, TOKEN_PATH)}
    try:
        os.environ.pop(TOKEN, None)  # Ray would take it before the file
        os.environ.update({MODE: "token", TOKEN_PATH: str(file)})
        reload_token()
        yield file
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        reload_token()


def own_token(environment: Mapping[str, str], home: Path | None = None) -> Token | None:
    """The token that Ray sends from this machine; None without a token, or in mode `disabled`.

    Ray looks at `RAY_AUTH_TOKEN`, `RAY_AUTH_TOKEN_PATH` and `~/.ray/auth_token`, in this order.
    ClusterError if the file is missing or empty, or others can read or change it.
    """
    mode = environment.get(MODE, "").strip().lower()
    if mode not in ("", "token", "disabled"):
        raise ClusterError(f"{MODE}={environment[MODE]}: expected token or disabled")
    if mode == "disabled":
        return None
    if value := environment.get(TOKEN, "").strip():
        return Token(value, TOKEN)
    if path := environment.get(TOKEN_PATH, ""):
        return Token(_read(expanded(path), f"{TOKEN_PATH}={path}"), TOKEN_PATH)
    file = DEFAULT_FILE if home is None else home / ".ray" / "auth_token"
    return Token(_read(file, str(file)), str(file)) if file.exists() else None


def _read(file: Path, source: str) -> str:
    try:
        status = file.stat()
        if problem := _exposed(status.st_mode, status.st_uid, os.geteuid()):
            raise ClusterError(f"{source}: {problem}")
        value = file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ClusterError(f"{source}: not a token; {HOW_TO_SET}") from None
    except OSError as error:
        raise ClusterError(f"{source}: {error.strerror or error}; {HOW_TO_SET}") from None
    if not value:
        raise ClusterError(f"{source}: the file is empty; {HOW_TO_SET}")
    return value


def _exposed(mode: int, owner: int, user: int) -> str:
    """The problem with the permissions of a token's file; empty if there is none.

    A Secret that Kubernetes mounts belongs to root, and the pod's group reads it.
    """
    if not stat.S_ISREG(mode):
        return "not a file"
    if owner not in (user, 0):
        return f"it belongs to user {owner}, who could change it; copy it to a file of your own"
    forbidden = stat.S_IRWXO | (stat.S_IRWXG if owner == user else stat.S_IWGRP)
    if mode & forbidden:
        return f"others have rights on it (mode {stat.S_IMODE(mode):o}); chmod 600 it"
    return ""


def _write_private(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(text)
