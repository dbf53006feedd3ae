"""The name under which others find a base: no path of this machine. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path

from align.sources import EMBEDDED, SMOLLM2

#: Public names of bases that come with a package.
PUBLIC = {SMOLLM2: "HuggingFaceTB/SmolLM2-135M-Instruct"}

_SNAPSHOT = re.compile(r".*/models--([^/]+?)--([^/]+)/snapshots/([0-9a-f]{40})/?")
_DIGITS = 12
_DIGEST = re.compile(rf".+-sha256-([0-9a-f]{{{_DIGITS}}})")


def public_base(ref: str, digest: str, revision: str | None = None) -> tuple[str, str | None]:
    """A base's public name and its commit on the hub, None where that is not known.

    A snapshot in the hub's cache has its hub id. Any other folder has its own name and the first
    digits of its weights' digest, so that it cannot be taken for a hub id.
    """
    if ref in EMBEDDED:
        return PUBLIC.get(ref, ref), None
    if not _is_folder(ref):
        return ref, revision
    folder = Path(ref).expanduser().absolute()
    if snapshot := _SNAPSHOT.fullmatch(folder.as_posix()):
        owner, name, commit = snapshot.groups()
        return f"{owner}/{name}", commit
    return f"{folder.resolve().name}-sha256-{digest[:_DIGITS]}", None


def digest_in_name(name: str) -> str | None:
    """The first digits of the weights' digest in a name that `public_base` gave a folder."""
    matched = _DIGEST.fullmatch(name)
    return matched[1] if matched else None


def _is_folder(ref: str) -> bool:
    return ref[:1] in ("/", ".", "~") or Path(ref).is_dir()
