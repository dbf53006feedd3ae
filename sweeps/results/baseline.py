"""A sweep's best trial against the recipe's own settings, which are trial 0 and never pruned."""

from __future__ import annotations

from collections.abc import Iterable

from align.errors import AdapterError
from align.evaluation.comparison import Compared, compare_examples
from align.evaluation.examples import EXAMPLES, read_examples
from align.evaluation.result_text import difference_text, evidence_text
from cluster.storage import Storage
from sweeps.pool.stage_job import trial_key
from sweeps.trials import DEFAULT, TrialSummary


def gain_over_default(storage: Storage, study: str, best: int, measure: str) -> Compared | None:
    """The best trial against the default on the same validation items, by a measure.

    None where they are the same trial, or rows of a trial are missing or share no items.
    """
    if best == DEFAULT:
        return None
    keys = [trial_key(study, number, "published") for number in (best, DEFAULT)]
    if not all(storage.exists(key) for key in keys):
        return None
    folders = [storage.get_folder(key) for key in keys]
    if not all((folder / EXAMPLES).exists() for folder in folders):
        return None
    try:
        comparisons = compare_examples(*(read_examples(folder) for folder in folders))
    except AdapterError:  # the rows have no items in common, which is no error here
        return None
    return next((comparison for comparison in comparisons if comparison.measure == measure), None)


def beside_default(
    trials: Iterable[TrialSummary], best: TrialSummary, gain: Compared | None
) -> str:
    """The text that follows the best trial in a line about a sweep."""
    if best.number == DEFAULT:
        return "which is the default"
    default = next((trial for trial in trials if trial.number == DEFAULT), None)
    if default is None or default.state != "COMPLETE" or default.objective is None:
        return "the default did not complete"
    text = f"default {default.objective:.4g}"
    if gain is None:
        return text
    return (
        f"{text}, difference {difference_text(gain.measure, gain.gain)}: "
        f"{evidence_text(gain.measure, gain.gain)}"
    )
