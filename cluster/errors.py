"""Expected failures of the shared services; each message is for the person who reads it."""

from __future__ import annotations

from align.errors import AligneryError


class SettingsError(AligneryError, ValueError):
    """A setting that cannot be used as given."""


class DatabaseError(AligneryError, RuntimeError):
    """A database that cannot be reached, read or migrated."""


class StorageError(AligneryError, OSError):
    """An artifact that cannot be stored or fetched."""


class ClusterError(AligneryError, RuntimeError):
    """A Ray cluster that cannot be reached or started."""


class JobNotFound(AligneryError, LookupError):
    """A job that the cluster's Ray does not know."""


class RegistryError(AligneryError, ValueError):
    """A registry operation that makes no sense as asked."""


class AdapterNotFound(AligneryError, LookupError):
    """A name that no adapter has."""


class PromotionConflict(AligneryError, RuntimeError):
    """An alias that points elsewhere than the caller expected."""
