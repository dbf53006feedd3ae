"""What ended trials leave in storage, and when it goes."""

from __future__ import annotations

from collections.abc import Sequence

from align.recipe import StageConfig
from cluster.settings import Settings
from sweeps.pool.workspace import discard_checkpoints, discard_published
from sweeps.study.trials import TrialSummary, best_of


class Leftovers:
    """Frees the space of one sweep's trials: checkpoints as the recipe's `keep_checkpoints` has it,
    published adapters when nobody can win with them any more."""

    def __init__(self, settings: Settings, study: str, config: StageConfig) -> None:
        self._settings, self._study, self._config = settings, study, config
        self._gone: set[int] = set()

    def trial_ended(self, trials: Sequence[TrialSummary]) -> None:
        """Discard the checkpoints of ended trials."""
        rule = self._config.sweep.keep_checkpoints
        best = best_of(trials, self._config.minimised) if rule == "best" else None
        ended = [one for one in trials if one.state not in ("RUNNING", "WAITING")]
        if rule == "all":
            ended = []
        gone = [one.number for one in ended if one != best and one.number not in self._gone]
        discard_checkpoints(self._settings, self._study, gone)
        self._gone.update(gone)

    def finished(self, trials: Sequence[TrialSummary], kept: set[int]) -> None:
        """Discard published adapters but those of the trials `kept`, and all checkpoints again.

        A worker that was killed may have written after its trial had ended.
        """
        self._gone.clear()
        self.trial_ended(trials)
        lost = [one.number for one in trials if one.number not in kept]
        discard_published(self._settings, self._study, lost)
