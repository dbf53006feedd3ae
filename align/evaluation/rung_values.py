"""The values of items by which trials are compared at a rung. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from align.evaluation.metrics import Evaluation
from align.recipe.metric_schedule import RUNG_METRICS, rung_metric
from align.recipe.schema import StageSchema

#: The set of items of each kind of measurement; see `Evaluation`.
_SETS = {"implied": "pairs", "wins": "answers"}


def compared_values(evaluation: Evaluation, stage: StageSchema) -> dict[str, float]:
    """The stage's rung metric of each item; empty if its trials are compared by the objective."""
    metric = rung_metric(stage)
    return {} if metric is None else rung_values(evaluation, metric)


def rung_values(evaluation: Evaluation, metric: str) -> dict[str, float]:
    """The metric of each item by the item's key, without items for which it is no number.

    `pair_loss` is the negative log-likelihood of a preference, in nats, by the model of Bradley and
    Terry: -log(sigmoid(margin)). `label_margin` is the log-ratio to the parent of a liked
    completion, and minus the log-ratio of a disliked completion.
    """
    if metric == "sampled_reward":
        items, values = "sampled", evaluation.sampled
    elif metric == "pair_loss":
        items, values = "pairs", [_softplus(-margin) for margin in evaluation.margins]
    elif metric == "label_margin":
        items = "labels"
        values = [
            ratio * (1.0 if liked else -1.0)
            for ratio, liked in zip(evaluation.log_ratios, evaluation.liked, strict=True)
        ]
    else:
        kind = RUNG_METRICS.get(metric, "wins")
        items = _SETS.get(kind, kind)
        values = evaluation.numbers().get(items, {}).get(metric, [])
    return _finite(evaluation.keys.get(items, []), values)


def _finite(keys: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    pairs = zip(keys, values, strict=True) if values else ()
    return {key: value for key, value in pairs if math.isfinite(value)}


def _softplus(value: float) -> float:
    """log(1 + exp(value)), without overflow."""
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))
