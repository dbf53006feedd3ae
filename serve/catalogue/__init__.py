"""What the names of an endpoint mean now: the database's word, followed and remembered."""

from serve.catalogue.catalogue import Catalogue
from serve.catalogue.snapshot import Snapshot, SnapshotSource

__all__ = ["Catalogue", "Snapshot", "SnapshotSource"]
