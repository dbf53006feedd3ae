"""Evaluation of a published adapter, its parent or the base on the test split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from align.data.problems import Split
from align.errors import AdapterError
from align.evaluation.eval_plan import EvalPlan
from align.evaluation.examples import write_examples
from align.evaluation.metrics import key_of
from align.recipe import Recipe, StageConfig
from align.space.spaces import Value

SPLIT: Split = "test"

#: Measures of a policy against its parent: the parent itself only ties.
_AGAINST_PARENT = ("implicit_pair_accuracy", "label_auc", "win_rate")


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
    """The metrics of a published adapter (None: the base) on the test split.

    The measures that the stage's objective and constraints need, from the shared engine:
    `objective` (NaN if it cannot be measured), `violation` if there are constraints, and the means
    by name. Per-example rows are written into the folder `target`, so that `compare_examples` can
    pair any two systems of a stage. The parent, by the same path as `parent`, is measured like any
    other system; a reward model's parent and base rank pairs by likelihood.

    AdapterError if the objective is relative to the measured system itself. Results are cached on
    disk, since published adapters do not change.
    """
    config = recipe.stages[stage].resolve(params)
    _check(config, stage, adapter, parent)
    plan = EvalPlan(recipe, stage, config, parent, reward_model, SPLIT, lasting=(adapter,))
    try:
        measured = plan.decisive(adapter)
        metrics = {**measured.metrics(), **plan.outcome(measured, last=True)}
    finally:
        if adapter is not None and adapter != parent:
            plan.evaluator.forget(adapter)
    if target is not None:
        target.mkdir(parents=True, exist_ok=True)
        write_examples(target, measured)
    return metrics


def _check(config: StageConfig, stage: str, adapter: Path | None, parent: Path | None) -> None:
    measure = key_of(config.objective, config.method)
    if adapter == parent and measure in _AGAINST_PARENT:
        name = "the base" if parent is None else f"the parent {parent}"
        raise AdapterError(
            f"stage '{stage}': {measure} is measured against {name}, so {name} itself has none; "
            "measure the trials' adapters, or choose an objective that stands by itself: accuracy"
        )
