"""Two adapters on the same held-out items. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from align.adapters import Manifest
from align.errors import AdapterError
from align.evaluation.examples import Example
from align.evaluation.statistics import Paired, auc, paired, paired_auc

#: Measures of which more is better, and less.
_MORE = {
    "accuracy",
    "implicit_pair_accuracy",
    "label_auc",
    "mean_reward",
    "pair_accuracy",
    "win_rate",
}
_LESS = {"nll"}
#: What is said of an item whatever the adapter.
_OF_THE_DATA = {"liked", "longer_rule"}
#: Measures against an adapter's own parent, and those that depend on a reward model.
_TO_PARENT = {
    "implicit_margin",
    "implicit_pair_accuracy",
    "kl_per_answer",
    "kl_per_token",
    "log_ratio",
    "win_rate",
}
_JUDGED = {"mean_reward", "reward/reward_model", "win_rate"}

Item = tuple[str, str, int]


@dataclass(frozen=True)
class Compared:
    """One measure: both means over the items that both have, and their paired difference."""

    measure: str
    ours: float
    theirs: float
    gain: Paired

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the measure has a good direction, else `more` or `less`."""
        return verdict(self.measure, self.gain)


def verdict(measure: str, gain: Paired) -> str:
    """What the interval says of ours: nothing clear if it contains 0."""
    if gain.low <= 0 <= gain.high or not gain.low <= gain.high:
        return "not clearly different"
    more = gain.low > 0
    if measure in _MORE or measure.startswith("reward/"):
        return "better" if more else "worse"
    if measure in _LESS:
        return "worse" if more else "better"
    return "more" if more else "less"


def compare_examples(ours: Sequence[Example], theirs: Sequence[Example]) -> list[Compared]:
    """Every measure that both have of the same items, in the order in which ours has them.

    AdapterError if the rows are of other splits, or have no item in common.
    """
    splits = [sorted({one.split for one in rows}) for rows in (ours, theirs)]
    if splits[0] != splits[1]:
        raise AdapterError(
            f"the first was measured on {' and '.join(splits[0]) or 'nothing'}, the second on "
            f"{' and '.join(splits[1]) or 'nothing'}: only rows of one split can be compared"
        )
    mine, other = _by_item(ours), _by_item(theirs)
    common = [item for item in mine if item in other]
    if not common:
        raise AdapterError(
            f"no held-out item in common ({len(mine)} and {len(other)}): both must have been "
            "measured on the same data, with the same seed and sizes"
        )
    done = []
    for items, measure in dict.fromkeys(
        (item[0], measure) for item in common for measure in mine[item].numbers
    ):
        both = [
            (a[measure], b[measure])
            for item in common
            if item[0] == items
            and measure in (a := mine[item].numbers)
            and measure in (b := other[item].numbers)
        ]
        if both and measure not in _OF_THE_DATA:
            done.append(_compared(measure, [a for a, _ in both], [b for _, b in both]))
    return done + _labels([(mine[item], other[item]) for item in common if item[0] == "labels"])


def _compared(measure: str, ours: Sequence[float], theirs: Sequence[float]) -> Compared:
    return Compared(measure, fmean(ours), fmean(theirs), paired(ours, theirs))


def _labels(both: Sequence[tuple[Example, Example]]) -> list[Compared]:
    """The difference of the areas, which are no means over items."""
    liked = [a.numbers["liked"] for a, _ in both]
    if len(set(liked)) < 2:
        return []
    ours, theirs = ([one.numbers["log_ratio"] for one in side] for side in zip(*both, strict=True))
    gain = paired_auc(ours, theirs, liked)
    return [Compared("label_auc", auc(ours, liked), auc(theirs, liked), gain)]


def _by_item(rows: Iterable[Example]) -> dict[Item, Example]:
    """By set, key and how often that key came before: data may hold an item twice."""
    found: dict[Item, Example] = {}
    for row in rows:
        count = 0
        while (row.items, row.key, count) in found:
            count += 1
        found[row.items, row.key, count] = row
    return found


def incomparable(ours: Manifest, theirs: Manifest) -> dict[str, str]:
    """Measures that mean another thing for each of the two, with the reason."""
    found: dict[str, str] = {}
    if ours.parents[:1] != theirs.parents[:1]:
        found |= dict.fromkeys(_TO_PARENT | {"label_auc"}, "their parents differ")
    if ours.reward_model != theirs.reward_model:
        found |= dict.fromkeys(_JUDGED, "their reward models differ")
    if _rewards(ours) != _rewards(theirs):
        found |= {"mean_reward": "their rewards differ"}
    if (ours.method == "reward") != (theirs.method == "reward"):
        found |= {"margin": "only one of them is a reward model"}
    if ours.base_digest != theirs.base_digest:
        found |= dict.fromkeys(("nll", "tokens", "margin"), "their bases differ")
    return found


def _rewards(manifest: Manifest) -> object:
    """What its held-out reward was measured with; see `Recipe.rewards`."""
    stages = manifest.recipe.get("stages", {}).values()
    others = [stage["rewards"] for stage in stages if stage.get("rewards")]
    return manifest.stage.get("rewards") or next(iter(others), {})
