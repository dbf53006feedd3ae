"""One trial of a stage on one worker: train to a milestone, measure, publish."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from align.adapter import Manifest, adapter_id, read_manifest, write_manifest
from align.adapter.folder import ADAPTER_FILES
from align.adapter.manifest import MANIFEST
from align.adapter.tensors import read_factors
from align.base import load_base
from align.precision import precision
from align.recipe import Recipe
from align.recipe.rows import Row
from align.recipe.space import Value
from align.stages.arithmetic import Split
from align.stages.data import check_disjoint, fingerprint, load_split
from align.stages.evaluate import Evaluator, shared_engine
from align.stages.job import RewardFunction
from align.stages.measures import Evaluation, bounded, objective
from align.stages.rewards import Rewards
from align.stages.train import PUBLISHED, newest_checkpoint, train

HELD_OUT: tuple[Split, ...] = ("validation", "test")
PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")


class Trial:
    """A stage with one choice of its searched fields.

    Everything it does is in `folder`, so another worker can go on from there. `parent` and
    `reward_model` are published adapter folders.
    """

    def __init__(
        self,
        recipe: Recipe,
        stage: str,
        params: Mapping[str, Value],
        *,
        parent: Path | None,
        reward_model: Path | None,
        folder: Path,
    ):
        self._recipe, self._stage, self._params = recipe, stage, dict(params)
        self._config = recipe.stages[stage].resolve(params)
        self._parent, self._reward_model, self._folder = parent, reward_model, folder
        self._steps = recipe.steps(stage)

    @property
    def milestones(self) -> tuple[int, ...]:
        """Steps at which the trial is measured: the rungs, then the last step."""
        return (*self._config.sweep.rungs, self._steps)

    @property
    def step(self) -> int:
        """The newest checkpoint's step, 0 if there is none."""
        return newest_checkpoint(self._folder)[0]

    def advance(self, to: int) -> dict[str, float]:
        """Train to step `to` and measure the published adapter on validation items.

        The result holds `objective`, `step`, `seconds_train`, `seconds_evaluate` and what else
        was measured. DataError, ModelError and AdapterError mean that no trial of this stage can
        run; TrainingError that this one went wrong.
        """
        started = time.perf_counter()
        rows = load_split(self._recipe, self._stage, "train")
        splits: dict[str, list[Row]] = {"train": rows}
        for split in HELD_OUT:
            splits[split] = load_split(self._recipe, self._stage, split)
        check_disjoint(splits)
        evaluator = Evaluator(self._recipe, self._reward_model)
        checkpoint = train(
            load_base(self._recipe.base),
            self._config,
            rows,
            self._folder,
            to=to,
            steps=self._steps,
            seed=self._recipe.seed,
            parent=self._parent,
            rewards=reward_functions(evaluator.rewards(self._config.rewards)),
            engine=shared_engine(self._recipe.base),
        )
        trained = time.perf_counter()
        published = checkpoint / PUBLISHED
        measured = self._measure(evaluator, published)
        evaluator.forget(published)
        value = objective(self._config.objective, measured)
        if self._config.max_length_ratio is not None:
            before = _parent_length(self._recipe.model_dump_json(), self._parent)
            length = measured.metrics()["length"]
            value = bounded(value, length, before, self._config.max_length_ratio)
        return {
            **measured.metrics(),
            "objective": value,
            "step": float(to),
            "seconds_train": trained - started,
            "seconds_evaluate": time.perf_counter() - trained,
        }

    def _measure(self, evaluator: Evaluator, adapter: Path) -> Evaluation:
        config, weights = self._config, self._recipe.rewards(self._stage)
        if config.objective == "pair_accuracy":
            return evaluator.ranking(adapter, self._stage, "validation", by_score=True)
        if config.objective == "nll":
            return evaluator.likelihood(adapter, self._stage, "validation")
        if config.objective == "win_rate":
            return evaluator.winning(adapter, self._parent, self._stage, "validation")
        return evaluator.answering(adapter, "validation", weights)

    def publish(self, target: Path, metrics: Mapping[str, float] | None = None) -> Manifest:
        """Put the newest checkpoint's adapter and its manifest into `target`, whole or not."""
        _, checkpoint = newest_checkpoint(self._folder)
        if checkpoint is None:
            raise FileNotFoundError(f"{self._folder}: no checkpoint to publish")
        partial = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
        partial.mkdir(parents=True)
        try:
            for name in ADAPTER_FILES:
                shutil.copy2(checkpoint / PUBLISHED / name, partial / name)
            manifest = self._manifest(partial, dict(metrics or {}))
            write_manifest(partial, manifest)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return manifest

    def _manifest(self, folder: Path, metrics: dict[str, float]) -> Manifest:
        base, config = load_base(self._recipe.base), self._config
        above = _manifest_of(self._parent)
        judge = _manifest_of(self._reward_model)
        return Manifest(
            id=adapter_id(folder),
            base=base.ref,
            base_digest=base.digest,
            line=self._recipe.line(self._stage),
            method=config.method,
            rank=read_factors(folder).rank,
            parents=[above.id, *above.parents] if above else [],
            reward_model=judge.id if judge else None,
            recipe=self._recipe.model_dump(mode="json"),
            stage=config.model_dump(mode="json"),
            params=dict(self._params),
            seed=self._recipe.seed,
            data_fingerprint=fingerprint(load_split(self._recipe, self._stage, "train")),
            metrics=metrics,
            pad_token_id=base.tokenizer.pad_token_id if config.method == "reward" else None,
            dtype=precision().name,
            seconds=metrics.get("seconds_train", 0.0) + metrics.get("seconds_evaluate", 0.0),
            versions={name: version(name) for name in PACKAGES},
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _manifest_of(folder: Path | None) -> Manifest | None:
    return read_manifest(folder) if folder is not None and (folder / MANIFEST).exists() else None


@lru_cache(maxsize=4)
def _parent_length(recipe_json: str, parent: Path | None) -> float:
    """Characters of the parent's answers on the validation items, measured once in a worker."""
    recipe = Recipe.model_validate_json(recipe_json)
    evaluator = Evaluator(recipe)
    return evaluator.answering(parent, "validation", {}).metrics()["length"]


def reward_functions(rewards: Rewards) -> list[tuple[str, float, RewardFunction]]:
    """A recipe's rewards as TRL takes them: (name, weight, function)."""

    def one(name: str) -> RewardFunction:
        def reward(
            prompts: list[Any], completions: list[Any], answer: list[str], **_: Any
        ) -> list[float]:
            return rewards.part(
                name, prompts, [turns[0]["content"] for turns in completions], answer
            )

        reward.__name__ = name
        return reward

    return [(name, weight, one(name)) for name, weight in rewards.weights.items()]
