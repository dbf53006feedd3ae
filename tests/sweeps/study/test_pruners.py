"""Pruners by name: each ends what it should, at the recipe's rungs, and is asked once."""

import importlib.util

import optuna
import pytest

from cluster.database import open_database
from sweeps.errors import SweepError
from sweeps.study.pruners import Pruning
from sweeps.study.storage import open_storage
from sweeps.study.study_session import StudySession
from sweeps.trials import Milestone
from tests.sweeps.driving import STUDY, stage_with

RUNGS = [5, 7, 11, 13, 17]


@pytest.fixture
def database(settings):
    return open_database(settings)


@pytest.fixture
def curves(settings, database):
    """Run trials with the given objectives at the rungs and the end; where each one ended."""

    def run(rungs, given, minimised=False, violations=None, **sweep):
        stage = stage_with(
            {"objective": "nll" if minimised else "accuracy"},
            trials=len(given),
            rungs=rungs,
            **sweep,
        )
        ended = []
        with StudySession(settings, database, STUDY, stage) as bridge:
            for number, curve in enumerate(given):
                assert bridge.ask().number == number
                for index, step in enumerate([*rungs, 30]):
                    metrics = {"objective": curve[index] if isinstance(curve, list) else curve}
                    if violations:
                        metrics["violation"] = violations[number]
                    if not bridge.report(number, Milestone(step, 30, index, metrics)):
                        break
                ended.append(step)
            states = [one.state for one in bridge.trials()]
        assert states == ["COMPLETE" if step == 30 else "PRUNED" for step in ended]
        return ended

    return run


@pytest.mark.parametrize(
    ("factor", "ended"),
    [
        # The best half of those that came so far, itself among them, goes on.
        (2, [30, 30, 5, 7, 30]),
        # Of the best third, only the best of three.
        (3, [30, 30, 5, 5, 30]),
    ],
)
def test_successive_halving_keeps_the_best_share_at_each_rung(curves, factor, ended):
    given = [0.5, 0.6, 0.1, [0.6, 0.1, 0, 0], 0.9]
    if factor == 3:
        given[3] = 0.55
    assert curves([5, 7, 11], given, reduction_factor=factor) == ended


def test_successive_halving_minimises_where_the_objective_does(curves):
    assert curves([5, 7], [0.5, 0.4, 0.9, 0.3], minimised=True) == [30, 30, 5, 30]


def test_successive_halving_takes_optunas_options(curves):
    options = {"min_early_stopping_rate": 1}
    assert curves([5, 7], [0.5, 0.1, 0.9], pruner_options=options) == [30, 7, 30]


def test_hyperband_judges_some_trials_from_the_first_rung_on_and_others_later(curves):
    falling = [1.0 - 0.02 * number for number in range(30)]
    ended = curves([5, 7], falling, pruner="hyperband")
    # Each trial is worse than all before it: what decides is its bracket.
    assert set(ended) == {5, 7, 30}
    assert min(ended.count(step) for step in (5, 7, 30)) >= 5


def test_hyperband_has_a_bracket_for_each_rung_though_logarithms_are_rounded():
    for factor, rungs in [(2, 3), (3, 5), (5, 3), (10, 3)]:
        stage = stage_with(
            {"max_steps": 100},
            rungs=list(range(1, rungs + 1)),
            reduction_factor=factor,
            pruner="hyperband",
        )
        pruner = Pruning(stage).make()
        study = optuna.create_study(pruner=pruner)
        trial = study.ask()
        trial.report(0.5, 1)
        trial.should_prune()
        assert pruner._n_brackets == rungs + 1


def test_median_needs_complete_trials_and_prunes_what_is_below_them(curves):
    assert curves([5, 7], [0.5, 0.4, [0.6, 0.1, 0.1], 0.45, 0.1], pruner="median") == [
        30, 5, 30, 5, 5,
    ]  # fmt: skip


def test_median_counts_its_warm_up_in_optimizer_steps(curves):
    options = {"n_warmup_steps": 6}
    assert curves([5, 7], [0.5, 0.1, 0.9], pruner="median", pruner_options=options) == [30, 7, 30]


def test_percentile_keeps_the_best_quarter(curves):
    options = {"percentile": 25.0, "n_startup_trials": 4}
    given = [0.1, 0.2, 0.3, 0.4, 0.25, 0.5, 0.31]
    assert curves([5], given, pruner="percentile", pruner_options=options) == [
        30, 30, 30, 30, 5, 30, 5,
    ]  # fmt: skip


def test_patient_ends_what_no_longer_improves(curves):
    rising, falling = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    options = {"patience": 1}
    ended = curves(RUNGS, [0.5, rising, falling, rising], pruner="patient", pruner_options=options)
    assert ended == [30, 30, 11, 30]


def test_patient_lets_another_pruner_decide_then(curves):
    falling_high = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    falling_low = [0.3, 0.2, 0.1, 0.1, 0.1, 0.1]
    rising_low = [0.1, 0.11, 0.12, 0.13, 0.14, 0.15]
    options = {"patience": 1, "wrapped_pruner": {"median": {"n_startup_trials": 1}}}
    ended = curves(
        RUNGS,
        [0.5, falling_high, falling_low, rising_low],
        pruner="patient",
        pruner_options=options,
    )
    assert ended == [30, 30, 11, 30]


def test_patient_wraps_successive_halving_at_its_own_rungs(curves):
    falling = [0.3, 0.2, 0.1, 0.1, 0.1, 0.1]
    options = {"patience": 0, "wrapped_pruner": "successive_halving"}
    ended = curves(RUNGS, [falling, falling, falling], pruner="patient", pruner_options=options)
    assert ended == [30, 30, 30]  # equal to all before it
    Pruning(stage_with(rungs=RUNGS, pruner="patient", pruner_options=options))


def test_threshold_ends_what_is_below_it(curves):
    options = {"lower": 0.2}
    given = [0.1, 0.3, [0.3, 0.19, 0.5], 0.1]
    assert curves([5, 7], given, pruner="threshold", pruner_options=options) == [30, 30, 7, 5]


@pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="needs scipy")
def test_wilcoxon_ends_what_is_surely_worse_than_the_best(curves):
    best = [0.5, 0.6, 0.7, 0.8, 0.9, 0.9]
    worse = [one - 0.1 - 0.01 * index for index, one in enumerate(best)]
    mixed = [0.4, 0.7, 0.6, 0.9, 0.8, 0.7]
    assert curves(RUNGS, [best, worse, mixed], pruner="wilcoxon") == [30, 13, 30]


def test_none_ends_nothing(curves):
    assert curves([5, 7], [0.9, 0.1, 0.0], pruner="none") == [30, 30, 30]


@pytest.mark.parametrize("pruner", ["successive_halving", "median"])
def test_a_trial_that_breaks_a_constraint_counts_as_the_worst_at_its_rung(curves, pruner):
    given = [0.5, 0.9, 0.95, 0.6, 0.7, 0.8]
    broken = [-0.1, 0.2, 0.3, -0.1, -0.1, -0.1]
    ended = curves([5, 7], given, pruner=pruner, violations=broken)
    assert ended == [30, 5, 5, 30, 30, 30]


def test_the_objective_of_a_trial_that_breaks_a_constraint_stays_as_measured(curves, settings):
    curves([5, 7], [0.5, 0.9], violations=[-0.1, 0.2])
    (_, broken) = optuna.load_study(study_name=STUDY, storage=open_storage(settings)).trials
    assert broken.user_attrs["rung:5"] == {"objective": 0.9, "violation": 0.2}
    assert broken.constraints == {"violation": 0.2}


@pytest.mark.parametrize(
    ("pruner", "options", "message"),
    [
        ("successive_halving", {"min_resource": 4}, r"min_resource: rungs are sweep\.rungs"),
        ("hyperband", {"reduction_factor": 4}, r"reduction_factor: it is sweep\.reduction_factor"),
        ("hyperband", {"bootstrap": 4}, r"no such option.*allowed: bootstrap_count"),
        ("median", {"n_startup_trials": -1}, r"options: Number of startup trials cannot be neg"),
        ("percentile", {}, r"missing 1 required positional argument: 'percentile'"),
        ("threshold", {}, r"Either lower or upper must be specified"),
        ("patient", {"patience": 2}, r"decides from the 4\. rung on; sweep\.rungs has 2"),
        ("patient", {"patience": 0, "wrapped_pruner": "medium"}, r"wrapped_pruner: .*median"),
        ("wilcoxon", {}, r"cannot be sure to p < 0\.1 with 2 rungs"),
        ("none", {"x": 1}, r"none has no such option; allowed: none"),
    ],
)
def test_wrong_options_are_told_before_anything_is_spent(pruner, options, message):
    with pytest.raises(SweepError, match=message) as caught:
        Pruning(stage_with(pruner=pruner, pruner_options=options))
    assert "\n" not in str(caught.value)


def test_an_unknown_pruner_names_near_ones():
    stage = stage_with()
    stage.sweep.pruner = "hyperbend"
    with pytest.raises(SweepError, match=r"sweep\.pruner: .*hyperband"):
        Pruning(stage)
