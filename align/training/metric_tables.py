"""Markdown tables of an adapter's metrics beside those of its parent and its base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from align.adapters.manifest import Manifest
from align.evaluation.result_text import figure_text, stored_difference_text

#: Metrics in the order of a card, each with its label and unit.
MEASURES = {
    "accuracy": "accuracy",
    "mean_reward": "reward, weighted sum",
    "pair_accuracy": "pairs ranked right",
    "longer_rule": "pairs that “the longer answer is right” ranks right",
    "implicit_pair_accuracy": "pairs ranked right by the log-ratio to the parent",
    "implicit_margin": "margin of the log-ratio to the parent, nats",
    "margin": "margin, chosen − rejected",
    "label_auc": "liked above disliked, by the log-ratio to the parent (AUC)",
    "nll": "negative log-likelihood, nats a token",
    "win_rate": "answers preferred to the parent's by the reward model",
    "kl_per_token": "KL from the parent, nats a token",
    "kl_per_answer": "KL from the parent, nats an answer",
    "length": "answer length, characters",
    "tokens": "answer length, tokens",
    "truncated": "answers cut at the token limit",
    "repetition": "repeated 4-grams in answers",
    "reward_length_correlation": "correlation of reward and length",
    "train/frac_reward_zero_std": "groups in training with rewards all alike",
}


def how_good(manifest: Manifest) -> Iterator[str]:
    """The section with the metrics of adapter, parent and base, as Markdown lines."""
    yield "## How good it is"
    yield ""
    metrics = manifest.metrics
    measured = [name for name in MEASURES if name in metrics]
    parts = sorted(name for name in metrics if name.startswith(("reward/", "pair_accuracy/")))
    if not measured:
        yield "Nothing was measured."
        return
    items = f"{manifest.data['validation'].rows} " if "validation" in manifest.data else ""
    yield (
        f"On {items}validation items, answered greedily by every system alike. Intervals are 95 %, "
        "of differences on the same items. A search chooses its best trial by these same items, "
        "which flatters that one a little; its test items were not looked at here."
    )
    yield ""
    parent = "parent" if manifest.parents else None
    columns = ["", "this adapter"]
    columns += ["parent", "difference to the parent"] if parent else []
    columns += ["base", "difference to the base"]
    yield from table(columns, [_row(manifest, name, bool(parent)) for name in (*measured, *parts)])


def _row(manifest: Manifest, name: str, with_parent: bool) -> list[str]:
    cells = [
        MEASURES.get(name, name.replace("reward/", "reward: ").replace("pair_accuracy/", "pairs: "))
    ]
    cells.append(figure_text(name, manifest.metrics.get(name)))
    if with_parent:
        cells.append(figure_text(name, manifest.parent_metrics.get(name)))
        cells.append(stored_difference_text(name, manifest.against_parent.get(name)))
    cells.append(figure_text(name, manifest.base_metrics.get(name)))
    cells.append(stored_difference_text(name, manifest.against_base.get(name)))
    return cells


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table, line by line."""
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"
