"""Comparison of two adapters on the same held-out items. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from align.adapters import Manifest
from align.errors import AdapterError
from align.evaluation.examples import Example
from align.evaluation.metrics import is_share
from align.evaluation.statistics import Paired, auc, paired, paired_auc
from align.methods import is_reward_model

#: Measures of which a higher value is better, and of which a lower.
_MORE = {
    "accuracy",
    "implicit_pair_accuracy",
    "label_auc",
    "mean_reward",
    "pair_accuracy",
    "win_rate",
}
_LESS = {"nll"}
#: Properties of an item, the same for every adapter.
_OF_THE_DATA = {"liked", "longer_rule"}
#: Measures relative to an adapter's own parent, and measures that depend on a reward model.
_TO_PARENT = {
    "implicit_margin",
    "implicit_pair_accuracy",
    "kl_per_answer",
    "kl_per_token",
    "log_ratio",
    "win_rate",
}
_JUDGED = {"mean_reward", "reward/reward_model", "win_rate"}

#: The largest p-value of a difference that counts as shown.
SIGNIFICANT = 0.05

Item = tuple[str, str, int]


@dataclass(frozen=True)
class Compared:
    """A measure's means over the items that both have, and their paired difference."""

    measure: str
    ours: float
    theirs: float
    gain: Paired

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the measure has a good direction, else `more` or `less`."""
        return verdict(self.measure, self.gain)


def verdict(measure: str, gain: Paired) -> str:
    """Ours minus theirs in words.

    `not clearly different` if the interval contains 0 or the p-value is above 5 %; without an
    interval, the p-value alone decides.
    """
    chance = gain.p_value is not None and gain.p_value > SIGNIFICANT
    if chance or gain.low <= 0 <= gain.high or (math.isnan(gain.low) and gain.p_value is None):
        return "not clearly different"
    higher = gain.difference > 0
    if measure in _MORE or measure.startswith("reward/"):
        return "better" if higher else "worse"
    if measure in _LESS:
        return "worse" if higher else "better"
    return "more" if higher else "less"


def compare_examples(ours: Sequence[Example], theirs: Sequence[Example]) -> list[Compared]:
    """Every measure that both have on the same items, in the order of `ours`.

    AdapterError if the rows are of different splits, or have no item in common.
    """
    splits = [sorted({row.split for row in rows}) for rows in (ours, theirs)]
    if splits[0] != splits[1]:
        raise AdapterError(
            f"the first was measured on {' and '.join(splits[0]) or 'nothing'}, the second on "
            f"{' and '.join(splits[1]) or 'nothing'}: only rows of one split can be compared"
        )
    our_examples, their_examples = _by_item(ours), _by_item(theirs)
    common = [item for item in our_examples if item in their_examples]
    if not common:
        raise AdapterError(
            f"no held-out item in common ({len(our_examples)} and {len(their_examples)}): both "
            "must have been measured on the same data, with the same seed and sizes"
        )
    comparisons = []
    for items, measure in dict.fromkeys(
        (item[0], measure) for item in common for measure in our_examples[item].numbers
    ):
        pairs = [
            (a[measure], b[measure])
            for item in common
            if item[0] == items
            and measure in (a := our_examples[item].numbers)
            and measure in (b := their_examples[item].numbers)
        ]
        if pairs and measure not in _OF_THE_DATA:
            comparisons.append(_compared(measure, [a for a, _ in pairs], [b for _, b in pairs]))
    return comparisons + _labels(
        [(our_examples[item], their_examples[item]) for item in common if item[0] == "labels"]
    )


def _compared(measure: str, ours: Sequence[float], theirs: Sequence[float]) -> Compared:
    gain = paired(ours, theirs, share=is_share(measure))
    return Compared(measure, fmean(ours), fmean(theirs), gain)


def _labels(pairs: Sequence[tuple[Example, Example]]) -> list[Compared]:
    """The difference of the AUCs, which are not means over items."""
    liked = [a.numbers["liked"] for a, _ in pairs]
    if len(set(liked)) < 2:
        return []
    ours, theirs = (
        [example.numbers["log_ratio"] for example in side] for side in zip(*pairs, strict=True)
    )
    gain = paired_auc(ours, theirs, liked)
    return [Compared("label_auc", auc(ours, liked), auc(theirs, liked), gain)]


def item_values(rows: Iterable[Example], measure: str) -> dict[Item, float]:
    """A measure's value of each item that has it."""
    return {
        item: row.numbers[measure] for item, row in _by_item(rows).items() if measure in row.numbers
    }


def _by_item(rows: Iterable[Example]) -> dict[Item, Example]:
    """Examples by set, key and the key's earlier occurrences: data may hold an item twice."""
    examples: dict[Item, Example] = {}
    for row in rows:
        count = 0
        while (row.items, row.key, count) in examples:
            count += 1
        examples[row.items, row.key, count] = row
    return examples


def incomparable(ours: Manifest, theirs: Manifest) -> dict[str, str]:
    """Measures that cannot be compared between the two adapters, with the reason."""
    reasons: dict[str, str] = {}
    if ours.parents[:1] != theirs.parents[:1]:
        reasons |= dict.fromkeys(_TO_PARENT | {"label_auc"}, "their parents differ")
    if ours.reward_model != theirs.reward_model:
        reasons |= dict.fromkeys(_JUDGED, "their reward models differ")
    if _rewards(ours) != _rewards(theirs):
        reasons |= {"mean_reward": "their rewards differ"}
    if is_reward_model(ours.method) != is_reward_model(theirs.method):
        reasons |= {"margin": "only one of them is a reward model"}
    if ours.base_digest != theirs.base_digest:
        reasons |= dict.fromkeys(("nll", "tokens", "margin"), "their bases differ")
    return reasons


def _rewards(manifest: Manifest) -> object:
    """The rewards of its held-out evaluation; see `Recipe.rewards`."""
    stages = manifest.recipe.get("stages", {}).values()
    stage_rewards = [stage["rewards"] for stage in stages if stage.get("rewards")]
    return manifest.stage.get("rewards") or next(iter(stage_rewards), {})
