"""Clean-up of storage: checkpoints and published adapters of ended trials."""

from __future__ import annotations

from collections.abc import Sequence

from align.recipe import StageConfig
from cluster.settings import Settings
from sweeps.pool.workspace import discard_checkpoints, discard_published
from sweeps.trials import TrialSummary, best_of


class Leftovers:
    """Deletes what the trials of one sweep no longer need.

    Checkpoints are deleted as the recipe's `keep_checkpoints` says, published adapters when the
    sweep has finished.
    """

    def __init__(self, settings: Settings, study: str, config: StageConfig) -> None:
        self._settings, self._study, self._config = settings, study, config
        self._gone: set[int] = set()

    def trial_ended(self, trials: Sequence[TrialSummary]) -> None:
        """Discard the checkpoints of ended trials, subject to `keep_checkpoints`."""
        rule = self._config.sweep.keep_checkpoints
        best = best_of(trials, self._config.minimised) if rule == "best" else None
        ended = [trial for trial in trials if trial.state not in ("RUNNING", "WAITING")]
        if rule == "all":
            ended = []
        discarded = [
            trial.number for trial in ended if trial != best and trial.number not in self._gone
        ]
        discard_checkpoints(self._settings, self._study, discarded)
        self._gone.update(discarded)

    def finished(self, trials: Sequence[TrialSummary], kept: set[int]) -> None:
        """Discard all published adapters but those of the trials `kept`, and checkpoints once more.

        A killed worker may have written checkpoints after its trial had ended.
        """
        self._gone.clear()
        self.trial_ended(trials)
        unused = [trial.number for trial in trials if trial.number not in kept]
        discard_published(self._settings, self._study, unused)
