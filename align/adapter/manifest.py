"""The manifest that lies beside an adapter's tensors: what it is, where it came from, how good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from align.errors import AdapterError

MANIFEST = "manifest.json"


class Manifest(BaseModel):
    """Everything known of a published adapter. Not part of its id."""

    model_config = ConfigDict(extra="forbid")

    id: str
    base: str
    base_digest: str
    line: str
    method: str
    rank: int
    parents: list[str] = Field(default_factory=list)  # ids, nearest first
    reward_model: str | None = None
    recipe: dict[str, Any] = Field(default_factory=dict)
    stage: dict[str, Any] = Field(default_factory=dict)  # resolved: no space left
    params: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    data_fingerprint: str = ""
    metrics: dict[str, float] = Field(default_factory=dict)
    pad_token_id: int | None = None  # of a reward head: its score pools the last other token
    dtype: str = ""
    seconds: float = 0.0
    versions: dict[str, str] = Field(default_factory=dict)
    created_at: str = ""


def read_manifest(folder: Path) -> Manifest:
    """The folder's manifest. AdapterError if it is missing or damaged."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AdapterError(f"{folder}: no {MANIFEST}; only published adapters have one") from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise AdapterError(f"{path}: damaged manifest: {' '.join(str(error).split())}") from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the folder's manifest."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
