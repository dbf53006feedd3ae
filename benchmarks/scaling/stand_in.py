"""A trial that sleeps; everything around it is as with real trials."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from align.adapters import Manifest, adapter_id, write_manifest
from align.recipe import Recipe
from align.space.spaces import Value


class StandIn:
    """One milestone, reached by sleeping. `budget_seconds` of its stage says for how long."""

    def __init__(
        self,
        recipe: Recipe,
        stage: str,
        params: dict[str, Value],
        *,
        parent: Path | None,
        reward_model: Path | None,
        folder: Path,
        on_checkpoint: Callable[[int], None] | None = None,
    ) -> None:
        self._recipe, self._stage, self._params = recipe, stage, params
        self.milestones = (recipe.steps(stage),)
        self.step = 0

    def advance(self, to: int) -> dict[str, float]:
        """Sleep; the objective is the learning rate."""
        time.sleep(self._recipe.stages[self._stage].budget_seconds or 0.0)
        self.step = to
        return {"objective": float(self._params["learning_rate"]), "seconds_train": 0.0}

    def rung_values(self) -> dict[str, float]:
        """None: it has no rungs."""
        return {}

    def publish(self, target: Path, metrics: dict[str, float]) -> Manifest:
        """An adapter's files without an adapter in them."""
        target.mkdir(parents=True)
        (target / "adapter_config.json").write_text("{}", encoding="utf-8")
        (target / "adapter_model.safetensors").write_text(str(self._params), encoding="utf-8")
        manifest = Manifest(
            id=adapter_id(target),
            base=self._recipe.base,
            base_digest="0" * 64,
            line=self._recipe.line(self._stage),
            method="sft",
            rank=8,
            params=self._params,
            metrics=metrics,
        )
        write_manifest(target, manifest)
        return manifest


def measure_unseen(
    recipe: Recipe,
    stage: str,
    params: Mapping[str, Value],
    adapter: Path | None,
    *,
    parent: Path | None,
    reward_model: Path | None,
    target: Path | None = None,
) -> dict[str, float]:
    """Never asked for: the recipe has no finalists."""
    return {"objective": 0.0}
