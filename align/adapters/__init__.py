"""Adapter folders: plain PEFT files plus a manifest. Does not import torch."""

from align.adapters.folder import ADAPTER_FILES, adapter_id, verify_folder
from align.adapters.manifest import IMPORTED, MANIFEST, Manifest, read_manifest, write_manifest

__all__ = [
    "ADAPTER_FILES",
    "IMPORTED",
    "MANIFEST",
    "Manifest",
    "adapter_id",
    "read_manifest",
    "verify_folder",
    "write_manifest",
]
