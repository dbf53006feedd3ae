"""Who is measured on unseen items, and who has won there."""

import math

import pytest

from align.evaluation.examples import Example
from align.recipe import parse_recipe
from sweeps.finalists import Standing, SystemResult, beside, finalists, standing
from sweeps.trials import TrialSummary


def stage(method="sft", objective="accuracy"):
    trained = {"learning_rate": 1e-4, "max_steps": 10}
    judge = {"method": "reward", "objective": "pair_accuracy", **trained}
    one = {"method": method, "objective": objective, **trained}
    if objective == "win_rate":
        one["reward_model"] = "judge"
    recipe = {"name": "toy", "base": "tiny-random", "data": {"task": "arithmetic"}}
    return parse_recipe({**recipe, "stages": {"judge": judge, "one": one}}).stages["one"]


def trial(number, objective, state="COMPLETE", violation=None):
    feasible = violation is None or violation <= 0
    return TrialSummary(number, state, {}, objective, 10, violation=violation, feasible=feasible)


def system(name, number, value, *, rows=40, **metrics):
    """Right on that share of the items."""
    right = round(value * rows)
    found = [
        Example("answers", str(at), "test", f"q{at}", numbers={"accuracy": float(at < right)})
        for at in range(rows)
    ]
    return SystemResult(name, number, {"objective": value, **metrics}, found)


def numbers(found):
    return [one.number for one in found]


def test_the_best_few_and_the_default_are_measured():
    trials = [
        trial(0, 0.1),
        trial(1, 0.9),
        trial(2, 0.8, violation=0.2),
        trial(3, 0.7, "PRUNED"),
        trial(4, 0.6),
        trial(5, 0.6),
    ]
    assert numbers(finalists(trials, False, 2)) == [0, 1, 4]  # of equals the earlier
    assert numbers(finalists(trials, True, 1)) == [0]
    assert finalists(trials, False, 0) == []
    assert numbers(finalists([trial(0, 0.5, "FAIL"), *trials[1:]], False, 1)) == [1]


def test_the_winner_is_chosen_on_unseen_items_and_held_against_default_and_parent():
    measured = [
        system("default", 0, 0.5),
        system("trial 1", 1, 0.6),
        system("trial 2", 2, 0.8),
        system("parent", None, 0.4),
        system("base", None, 0.95),
    ]
    found = standing(measured, [trial(one, 0.5) for one in range(3)], stage(), 1)
    assert (found.chosen, found.searched_best, found.items) == (2, 1, 40)
    by_name = {one.name: one for one in found.systems}
    best = by_name["trial 2"]
    assert best.low < 0.8 < best.high
    assert best.against_default.difference == pytest.approx(0.3)
    assert best.against_default.low > 0
    assert best.against_parent.difference == pytest.approx(0.4)
    assert by_name["default"].against_default is None
    assert Standing.read(found.plain()) == found


def test_of_equals_the_earlier_trial_wins_and_what_is_not_feasible_does_not():
    trials = [trial(0, 0.5), trial(1, 0.9), trial(2, 0.8)]
    tied = [system("default", 0, 0.5), system("trial 2", 2, 0.8), system("trial 1", 1, 0.8)]
    assert standing(tied, trials, stage(), 1).chosen == 1
    broken = [system("default", 0, 0.5), system("trial 1", 1, 0.8, violation=0.1)]
    found = standing(broken, trials, stage(), 1)
    assert found.chosen == 0
    assert [one.feasible for one in found.systems] == [True, False]
    both = [system("trial 1", 1, 0.8, violation=0.3), system("trial 2", 2, 0.5, violation=0.1)]
    assert standing(both, trials, stage(), 1).chosen == 2  # the least broken


def test_the_lowest_wins_where_the_objective_is_minimised():
    trials = [trial(0, 0.5), trial(1, 0.4), trial(2, 0.3)]
    measured = [system("default", 0, 0.5), system("trial 1", 1, 0.2), system("trial 2", 2, 0.3)]
    found = standing(measured, trials, stage(objective="nll"), 2)
    assert (found.chosen, found.searched_best, found.minimised) == (1, 2, True)


def test_a_constraint_may_be_met_exactly_and_counts_where_only_the_search_measured_it():
    trials = [trial(0, 0.5), trial(1, 0.9, violation=0.2)]
    exact = [system("default", 0, 0.5), system("trial 1", 1, 0.8, violation=0.0)]
    found = standing(exact, trials, stage(), 1)
    assert found.chosen == 1 and all(one.feasible for one in found.systems)
    unmeasured = [system("default", 0, 0.5), system("trial 1", 1, 0.8)]
    found = standing(unmeasured, trials, stage(), 1)
    assert found.chosen == 0 and [one.feasible for one in found.systems] == [True, False]


def test_the_interval_of_an_area_is_around_the_area():
    rows = [
        Example("labels", str(at), "test", f"q{at}", numbers={"liked": liked, "log_ratio": ratio})
        for at in range(40)
        for liked, ratio in [(float(at % 2), (at % 2) + 0.1 * (at % 7) - (at % 5 == 0))]
    ]
    found = standing(
        [SystemResult("default", 0, {"objective": 0.8}, rows)],
        [trial(0, 0.8)],
        stage("kto", "label_auc"),
        0,
    )
    (one,) = found.systems
    assert found.items == 40 and 0.5 < one.low < 0.8 < one.high


def test_what_has_no_objective_there_is_left_out():
    measured = [system("default", 0, 0.5), SystemResult("trial 1", 1, {"objective": math.nan})]
    found = standing(measured, [trial(0, 0.5), trial(1, 0.9)], stage(), 1)
    assert found.chosen == 0 and len(found.systems) == 1
    assert standing(measured[1:], [trial(1, 0.9)], stage(), 1) is None
    bare = standing([SystemResult("trial 1", 1, {"objective": 0.3})], [trial(1, 0.9)], stage(), 1)
    assert (bare.systems[0].low, bare.systems[0].high) == (None, None)


@pytest.mark.parametrize(
    ("method", "objective", "has_parent", "expected"),
    [
        ("sft", "accuracy", False, ["base"]),
        ("sft", "accuracy", True, ["parent", "base"]),
        ("reward", "pair_accuracy", True, []),
        ("dpo", "pair_accuracy", True, ["base"]),
        ("dpo", "win_rate", False, []),
    ],
)
def test_who_stands_beside_the_trials(method, objective, has_parent, expected):
    assert beside(stage(method, objective), has_parent) == expected


def test_how_probable_it_is_that_the_winner_is_better_and_the_best_challenger_of_a_default():
    trials = [trial(0, 0.5), trial(1, 0.9), trial(2, 0.8)]
    won = standing(
        [system("default", 0, 0.5), system("trial 1", 1, 0.9), system("trial 2", 2, 0.6)],
        trials, stage(), 1,
    )  # fmt: skip
    assert won.challenger.number == 1 and won.probability > 0.99
    lost = standing(
        [system("default", 0, 0.9), system("trial 1", 1, 0.5), system("trial 2", 2, 0.8)],
        trials, stage(), 1,
    )  # fmt: skip
    assert lost.chosen == 0 and lost.challenger.number == 2 and lost.probability < 0.5
    alone = standing([system("default", 0, 0.9)], trials, stage(), 1)
    assert alone.challenger is None and alone.probability is None
    broken = [system("default", 0, 0.9), system("trial 1", 1, 0.95, violation=0.1)]
    assert standing(broken, trials, stage(), 1).challenger is None


def test_without_rows_and_in_standings_of_earlier_versions_no_probability_is_known():
    measured = [system("default", 0, 0.5, rows=0), system("trial 1", 1, 0.9, rows=0)]
    found = standing(measured, [trial(0, 0.5), trial(1, 0.9)], stage(), 1)
    assert found.chosen == 1 and found.probability is None
    plain = found.plain()
    del plain["probability"]
    assert Standing.read(plain) == found
