"""The model names and keys of an endpoint, read from the database at regular intervals."""

from serve.catalogue.catalogue import Catalogue
from serve.catalogue.snapshot import Snapshot, SnapshotSource

__all__ = ["Catalogue", "Snapshot", "SnapshotSource"]
