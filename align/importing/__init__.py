"""Adapters that other tools have made become folders like those that stages publish."""

from align.importing.folder import Imported, import_adapter

__all__ = ["Imported", "import_adapter"]
