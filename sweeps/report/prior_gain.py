"""What priors spared a search: their best trial beside the sampler's own, in a sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.trials import TrialSummary, best_of

PRIOR = "prior: "


def prior_gain(trials: Sequence[TrialSummary], minimised: bool) -> str:
    """A remark on the best complete trial of a prior; empty if there is none.

    Seconds are those of the trials themselves, not of the wall clock.
    """
    best = best_of((trial for trial in trials if trial.origin.startswith(PRIOR)), minimised)
    if best is None or best.objective is None:
        return ""
    source = best.origin.removeprefix(PRIOR)
    text = f"priors: trial {best.number} ({source}) reached {best.objective:.4g}"
    sampled = [trial for trial in trials if trial.origin == "sampler"]
    seconds = 0.0
    for count, trial in enumerate(sampled, start=1):
        seconds += trial.seconds
        rival = best_of([trial], minimised)
        if rival is None or rival.objective is None:
            continue
        if (rival.objective <= best.objective) == minimised or rival.objective == best.objective:
            return (
                f"{text}; the sampler's trials reached {rival.objective:.4g} with their number "
                f"{count}, after {seconds:.0f} s of trials"
            )
    rival = best_of(sampled, minimised)
    if rival is None or rival.objective is None:
        return f"{text}; no trial of the sampler is complete"
    return (
        f"{text}; the sampler's {len(sampled)} trials ({seconds:.0f} s) reached "
        f"{rival.objective:.4g} at best"
    )
