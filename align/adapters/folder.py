"""An adapter's files, and its id: a digest of their content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from align.errors import AdapterError
from align.lru_cache import Remembered

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
ADAPTER_FILES = (CONFIG, TENSORS)

#: Config entries that are paths and do not change what the adapter computes.
_PATHS = ("base_model_name_or_path", "revision")

_IDS: Remembered[str] = Remembered(64)


def read_config(folder: Path) -> dict[str, Any]:
    """The PEFT config as plain data. AdapterError if it is missing or no JSON object."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AdapterError(f"{folder}: no {CONFIG}; expected a PEFT adapter folder") from None
    except ValueError as error:
        raise AdapterError(f"{path}: not JSON: {error}") from None
    if not isinstance(config, dict):
        raise AdapterError(f"{path}: expected a JSON object")
    return config


def adapter_id(folder: Path) -> str:
    """SHA-256 (hex) over the canonical config without paths and the safetensors bytes."""
    config = {key: value for key, value in read_config(folder).items() if key not in _PATHS}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":")).encode())
    digest.update(b"\0")
    try:
        with (folder / TENSORS).open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except FileNotFoundError:
        raise AdapterError(f"{folder}: no {TENSORS}; only safetensors adapters are taken") from None
    return digest.hexdigest()


def published_id(folder: Path) -> str:
    """`adapter_id` of a published adapter, cached as long as its files do not change.

    AdapterError if a file is missing.
    """
    return _IDS.of(file_stamp(folder), lambda: adapter_id(folder))


def file_stamp(folder: Path) -> tuple[object, ...]:
    """A key of the folder's files: its path, and each file's inode, time and size."""
    stamp: list[object] = [str(folder)]
    for name in ADAPTER_FILES:
        path = folder / name
        if path.exists():
            status = path.stat()
            stamp.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(stamp)


def verify_folder(folder: Path, expected: str) -> None:
    """AdapterError if the id of the folder's content is not `expected`."""
    if (actual := adapter_id(folder)) != expected:
        raise AdapterError(
            f"{folder}: content digest {actual[:12]} is not {expected[:12]}; "
            "the files were changed or damaged: fetch or publish the adapter again"
        )
