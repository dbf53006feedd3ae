"""Figures of a report, of trials whose figures can be worked out by hand."""

from sweeps.report.data import Rung, best_so_far, parameters, ranks, steps_saved, survival
from tests.sweeps.driving import stage_with
from tests.sweeps.reporting import stage, trial


def test_the_best_so_far_keeps_to_the_constraints_and_only_gets_better():
    assert best_so_far(stage()) == [(0, 0.5), (2, 0.7)]
    assert best_so_far(stage(minimised=True)) == [(0, 0.5)]
    assert best_so_far(stage([])) == []


def test_every_trial_that_reached_a_rung_went_on_was_pruned_or_was_lost():
    found = survival(stage())
    assert found == [
        Rung("begun", 6, 0, 1),  # trial 3 failed before its first measurement
        Rung("step 10", 4, 1, 1),  # trial 1 was pruned, trial 6 is still open
        Rung("step 20", 3, 1, 0),
        Rung("complete", 3),
    ]
    assert [one.reached for one in found] == [7, 6, 4, 3]


def test_a_rung_at_a_trials_end_is_no_rung_of_its():
    short = [trial(0, "COMPLETE", {10: 0.3, 20: 0.4}), trial(1, "COMPLETE", {10: 0.3, 20: 0.4})]
    found = survival(stage(short, totals={0: 20, 1: 20}))
    assert [one.title for one in found] == ["begun", "step 10", "complete"]
    assert survival(stage([])) == [Rung("begun", 0), Rung("complete", 0)]


def test_pruning_saves_the_steps_that_were_left():
    assert steps_saved(stage()) == (20 + 10, 7 * 30)
    assert steps_saved(stage([])) == (0, 0)


def test_complete_trials_come_first_then_those_that_came_farthest():
    order = sorted(ranks(stage()).items(), key=lambda one: one[1])
    assert [number for number, _ in order] == [2, 0, 5, 4, 6, 1]
    assert [place for _, place in order] == [1, 2, 3, 4, 5, 6]
    lowest = ranks(stage(minimised=True))
    assert (lowest[0], lowest[2]) == (1, 2)


def test_a_winner_is_the_best_whatever_validation_items_say():
    assert stage().best.number == 2
    assert stage(chosen=0).best.number == 0
    assert stage([]).best is None


def test_titles_are_short_where_that_is_clear():
    space = stage_with().space()["lora.r"]
    names = ("learning_rate", "lora.r", "lora.lora_dropout", "rewards.a.weight", "rewards.b.weight")
    titles = [one.title for one in parameters(dict.fromkeys(names, space))]
    assert titles == ["lr", "rank", "lora_dropout", "rewards.a.weight", "rewards.b.weight"]
    (rate,) = (one for one in parameters(stage_with().space()) if one.title == "lr")
    (rank,) = (one for one in parameters(stage_with().space()) if one.title == "rank")
    assert (rate.log, rate.choices) == (True, ()) and (rank.log, rank.choices) == (
        False,
        (4, 8, 16),
    )
