"""The manifest in an adapter's folder: its identity, origin, training and metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from align.errors import AdapterError

MANIFEST = "manifest.json"
#: The method of an adapter of another tool, of which only the weights are known.
IMPORTED = "imported"


class PairedDifference(BaseModel):
    """A paired difference over `items` held-out items, and its 95 % interval.

    `low` and `high` are None where the items allow no interval.
    """

    model_config = ConfigDict(extra="forbid")

    difference: float
    low: float | None
    high: float | None
    items: int


class SplitData(BaseModel):
    """The number of rows of a split, and the SHA-256 over their content."""

    model_config = ConfigDict(extra="forbid")

    rows: int
    fingerprint: str


class Manifest(BaseModel):
    """Everything that is recorded of a published adapter. Not part of its id.

    Only the first six fields are required: adapters of earlier versions may lack the others.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    base: str
    base_digest: str
    line: str
    method: str
    rank: int
    base_revision: str | None = None  # the hub's commit
    tokenizer_digest: str = ""
    template_digest: str = ""
    parents: list[str] = Field(default_factory=list)  # ids, nearest first
    parent_lines: list[str] = Field(default_factory=list)  # parallel to `parents`
    reward_model: str | None = None
    recipe: dict[str, Any] = Field(default_factory=dict)
    stage: dict[str, Any] = Field(default_factory=dict)  # resolved: without search spaces
    params: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    data: dict[str, SplitData] = Field(default_factory=dict)
    data_fingerprint: str = ""  # of the training rows
    metrics: dict[str, float] = Field(default_factory=dict)  # on the validation items
    parent_metrics: dict[str, float] = Field(default_factory=dict)  # on the same items
    base_metrics: dict[str, float] = Field(default_factory=dict)
    against_parent: dict[str, PairedDifference] = Field(default_factory=dict)
    against_base: dict[str, PairedDifference] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)  # a TrainRecord
    reward_failures: int = 0
    reward_failure_examples: list[dict[str, str]] = Field(default_factory=list)
    pad_token_id: int | None = (
        None  # of a reward head: the score is taken at the last token that is not padding
    )
    dtype: str = ""
    seconds: float = 0.0  # of the last milestone: load, train and evaluate
    wall_seconds: float = 0.0  # of all training
    accelerator_seconds: float = 0.0
    versions: dict[str, str] = Field(default_factory=dict)
    code_commit: str | None = None
    created_at: str = ""

    @property
    def imported(self) -> bool:
        """Whether another tool made the adapter, so that no stage can be run for it."""
        return IMPORTED in self.training


def read_manifest(folder: Path) -> Manifest:
    """The folder's manifest. AdapterError if it is missing or damaged."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AdapterError(
            f"{folder}: no {MANIFEST}; only published adapters have one. An adapter of another "
            "tool is taken by `alignery adapter import FOLDER --line RECIPE/STAGE`"
        ) from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise AdapterError(f"{path}: damaged manifest: {' '.join(str(error).split())}") from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the folder's manifest."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
