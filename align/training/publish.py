"""A checkpoint's adapter as it is published: PEFT's files, manifest, model card and rows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from align.adapters import Manifest, adapter_id, read_manifest, write_manifest
from align.adapters.folder import ADAPTER_FILES
from align.adapters.manifest import MANIFEST
from align.adapters.provenance import code_commit, versions
from align.adapters.tensors import read_factors
from align.atomic_write import atomic_path
from align.base import Base, load_base
from align.data.problems import Split
from align.data.splits import fingerprint, load_split
from align.digests import template_digest
from align.evaluation.eval_result import EvalResult, read_measured
from align.evaluation.examples import write_examples
from align.methods import is_reward_model
from align.precision import precision
from align.recipe import Recipe, StageConfig
from align.space.spaces import Value
from align.training.checkpoints import PUBLISHED
from align.training.model_card import write_card
from align.training.train_record import TrainRecord, read_record

#: The parts of a milestone's seconds.
_PARTS = ("load", "train", "evaluate")
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Origin:
    """Where an adapter comes from: a stage of a recipe with these parameters, on these adapters."""

    recipe: Recipe
    stage: str
    config: StageConfig
    params: Mapping[str, Value]
    parent: Path | None
    reward_model: Path | None


def publish(origin: Origin, checkpoint: Path, target: Path, metrics: dict[str, float]) -> Manifest:
    """Put a checkpoint's adapter into `target`, whole or not at all."""
    with atomic_path(target) as partial:
        partial.mkdir(parents=True)
        for name in ADAPTER_FILES:
            shutil.copy2(checkpoint / PUBLISHED / name, partial / name)
        measured = read_measured(checkpoint)
        manifest = manifest_of(origin, partial, read_record(checkpoint), metrics, measured)
        write_manifest(partial, manifest)
        write_card(partial, manifest)
        if measured is not None:
            write_examples(partial, measured.evaluation)
        shutil.rmtree(target, ignore_errors=True)
    return manifest


def manifest_of(
    origin: Origin,
    folder: Path,
    record: TrainRecord,
    metrics: dict[str, float],
    measured: EvalResult | None = None,
) -> Manifest:
    """The manifest of the adapter files in `folder`."""
    recipe, stage, config = origin.recipe, origin.stage, origin.config
    base = load_base(recipe.base, *recipe.fp32_modules)
    parent, judge = _known(origin.parent), _known(origin.reward_model)
    rows = {split: load_split(recipe, stage, split) for split in _SPLITS}
    data = {
        split: {"rows": len(split_rows), "fingerprint": fingerprint(split_rows)}
        for split, split_rows in rows.items()
    }
    return Manifest.model_validate(
        {
            "id": adapter_id(folder),
            **_base_fields(base),
            "line": recipe.line(stage),
            "method": config.method,
            "rank": read_factors(folder).rank,
            "parents": [parent.id, *parent.parents] if parent else [],
            "parent_lines": [parent.line, *parent.parent_lines] if parent else [],
            "reward_model": judge.id if judge else None,
            "recipe": recipe.model_dump(mode="json"),
            "stage": config.model_dump(mode="json"),
            "params": dict(origin.params),
            "seed": recipe.seed,
            "data": data,
            "data_fingerprint": data["train"]["fingerprint"],
            "metrics": metrics,
            **(_measured_fields(measured) if measured else {}),
            "training": record.model_dump(mode="json"),
            "pad_token_id": base.tokenizer.pad_token_id if is_reward_model(config.method) else None,
            "dtype": precision().name,
            "seconds": sum(metrics.get(f"seconds_{part}", 0.0) for part in _PARTS),
            "wall_seconds": record.wall_seconds,
            "accelerator_seconds": record.accelerator_seconds,
            "versions": versions(),
            "code_commit": code_commit(),
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )


def _base_fields(base: Base) -> dict[str, Any]:
    return {
        "base": base.ref,
        "base_digest": base.digest,
        "base_revision": base.revision,
        "tokenizer_digest": base.tokenizer_digest,
        "template_digest": template_digest(base.tokenizer),
    }


def _measured_fields(measured: EvalResult) -> dict[str, Any]:
    return {
        "parent_metrics": measured.parent_metrics,
        "base_metrics": measured.base_metrics,
        "against_parent": measured.against_parent,
        "against_base": measured.against_base,
        "reward_failures": measured.failed,
        "reward_failure_examples": measured.failures,
    }


def _known(folder: Path | None) -> Manifest | None:
    return read_manifest(folder) if folder is not None and (folder / MANIFEST).exists() else None
