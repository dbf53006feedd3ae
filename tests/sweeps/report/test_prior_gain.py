"""What priors spared a search."""

from sweeps.report.prior_gain import prior_gain
from sweeps.trials import TrialSummary


def trial(number, origin, objective, state="COMPLETE"):
    return TrialSummary(number, state, {}, objective, 30, seconds=10.0, origin=origin)


def test_the_samplers_trials_that_came_as_far_are_counted():
    trials = [
        trial(0, "default", 0.9),
        trial(1, "prior: toy/sft:1", 0.5),
        trial(2, "sampler", 0.4, "PRUNED"),
        trial(3, "sampler", 0.6),
        trial(4, "sampler", 0.45),
    ]
    assert prior_gain(trials, minimised=True) == (
        "priors: trial 1 (toy/sft:1) reached 0.5; the sampler's trials reached 0.45 with their "
        "number 3, after 30 s of trials"
    )
    assert "number 2, after 20 s" in prior_gain(trials, minimised=False)


def test_a_prior_that_stayed_best():
    trials = [trial(1, "prior: x", 0.5), trial(2, "sampler", 0.6)]
    assert prior_gain(trials, minimised=True).endswith(
        "the sampler's 1 trials (10 s) reached 0.6 at best"
    )


def test_nothing_is_said_without_a_complete_trial_of_a_prior():
    trials = [trial(0, "default", 0.5), trial(1, "prior: x", 0.4, "PRUNED")]
    assert prior_gain(trials, minimised=True) == ""


def test_a_sampler_without_a_complete_trial():
    trials = [trial(1, "prior: x", 0.5), trial(2, "sampler", None, "FAIL")]
    assert prior_gain(trials, minimised=True).endswith("no trial of the sampler is complete")
