"""What a driver's session tells of its study: read only."""

from __future__ import annotations

from sweeps.study.early_stops import StopWhen
from sweeps.study.study_trials import StudyTrials
from sweeps.trials import RUNG, TrialSummary


class StudyState:
    """The trials of a study, and whether its search has finished."""

    _contents: StudyTrials
    _stopped = False

    @property
    def notes(self) -> list[str]:
        """Remarks for the user on how the search was set up."""
        return self._contents.notes

    @property
    def wanted(self) -> int:
        """Number of trials that the sweep should have, including repeats of failed trials."""
        return self._contents.wanted

    @property
    def stop_when(self) -> StopWhen:
        """The rule of `sweep.stop_when`, with its decision."""
        return self._contents.stop_when

    @property
    def finished(self) -> bool:
        """Whether all begun trials have ended and no more will be handed out."""
        begun_trials = self._contents.begun()
        ended = all(trial.state.is_finished() for trial in begun_trials)
        return ended and (self._stopped or len(begun_trials) >= self.wanted)

    @property
    def started(self) -> bool:
        """Whether any trial has been measured yet."""
        return any(
            key.startswith(RUNG) for trial in self._contents.begun() for key in trial.user_attrs
        )

    def trials(self) -> list[TrialSummary]:
        """Summaries of all begun trials, by number."""
        return self._contents.summaries()

    def summary(self, number: int) -> TrialSummary:
        """The summary of one trial."""
        return self._contents.summaries(number)[0]
