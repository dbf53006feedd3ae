"""What other workers have prepared: a seam for whoever moves it between machines.

Tokenised rows, reference log-probabilities and what the base and published adapters did on
held-out items are files below ALIGNERY_HOME, found by what they depend on. A process looks there
first, then asks the shelf, then computes and offers what it has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

#: The folders below ALIGNERY_HOME that are shared.
Kind = Literal["prepared", "reference", "evaluations"]


class ArtifactCache(Protocol):
    """Files and folders by kind and key. A key stands for one content, whoever made it.

    Neither method raises: a shelf that cannot be reached, or has lost something, has nothing, and
    what it lacks is computed again.
    """

    def fetch(self, kind: Kind, key: str, target: Path) -> bool:
        """Put a file or folder at `target`, whole or not at all; False if it is not there."""
        ...

    def offer(self, kind: Kind, key: str, path: Path) -> None:
        """Keep a copy of a file or folder, for those that will ask."""
        ...


class NoArtifactCache:
    """Of a process that shares with none."""

    def fetch(self, kind: Kind, key: str, target: Path) -> bool:
        return False

    def offer(self, kind: Kind, key: str, path: Path) -> None:
        pass


_shelf: ArtifactCache = NoArtifactCache()


def shelf() -> ArtifactCache:
    """This process's shelf."""
    return _shelf


def install(given: ArtifactCache) -> None:
    """Make `given` this process's shelf."""
    global _shelf
    _shelf = given
