"""The interface of a cache that shares prepared files between workers on several machines.

Tokenised rows, reference log-probabilities, and held-out evaluations of the base and of published
adapters are files below ALIGNERY_HOME, named by a digest of everything they depend on. A process
looks there first, then fetches from the installed cache, then computes the file and offers it to
the cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

#: The folders below ALIGNERY_HOME that are shared.
Kind = Literal["prepared", "reference", "evaluations"]


class ArtifactCache(Protocol):
    """Files and folders by kind and key. A key identifies the content.

    Neither method raises: if the cache cannot be reached, or has lost a file, the file is computed
    again.
    """

    def fetch(self, kind: Kind, key: str, target: Path) -> bool:
        """Copy a file or folder to `target`, whole or not at all; False if it is not cached."""
        ...

    def offer(self, kind: Kind, key: str, path: Path) -> None:
        """Store a copy of a file or folder for other workers."""
        ...


class NoArtifactCache:
    """The default: a cache that holds nothing."""

    def fetch(self, kind: Kind, key: str, target: Path) -> bool:
        return False

    def offer(self, kind: Kind, key: str, path: Path) -> None:
        pass


_shelf: ArtifactCache = NoArtifactCache()


def shelf() -> ArtifactCache:
    """This process's artifact cache."""
    return _shelf


def install(given: ArtifactCache) -> None:
    """Make `given` this process's artifact cache."""
    global _shelf
    _shelf = given
