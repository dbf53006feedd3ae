"""Searches that are replayed from learning curves."""

import math

from benchmarks.rungs.replay import Search, asynchronous, synchronous


class Told:
    """Passes the trials that it is given, and notes what it hears."""

    def __init__(self, passing):
        self.passing, self.heard = passing, []

    def report(self, number, rung, values):
        self.heard.append((number, rung))

    def passes(self, number, rung):
        return number in self.passing

    def end(self, number, objective):
        self.heard.append((number, objective))


def test_a_full_grid_takes_all_steps(ladder):
    search = Search(ladder, "nll", range(8))
    for bracket in (asynchronous, synchronous):
        replay = bracket(search, Told(range(8)))
        assert (replay.steps, replay.completed) == (240, frozenset(range(8)))


def test_the_first_trial_is_never_pruned_and_others_end_at_the_first_rung(ladder):
    search = Search(ladder, "nll", [3, 0, 1, 2, 4, 5, 6, 7])
    for bracket in (asynchronous, synchronous):
        replay = bracket(search, Told(()))
        assert (replay.steps, replay.completed) == (30 + 7 * 5, {3})


def test_in_a_synchronous_bracket_all_reach_a_rung_before_any_goes_on(ladder):
    told = Told({1})
    synchronous(Search(ladder, "nll", range(8)), told)
    rungs = [rung for _, rung in told.heard if rung in (0, 1)][:10]
    assert rungs == [0] * 8 + [1] * 2


def test_two_run_at_a_time_and_a_place_that_is_free_takes_the_next(made):
    stage = made([[1.0] * 3] * 4, [[0.25, 0.25, 0.25]] * 4)
    told = Told({2})
    asynchronous(Search(stage, "nll", range(4)), told)
    # Trial 1 ends at step 5, so 2 begins while 0 is on its way to step 15.
    assert told.heard == [
        (0, 0), (1, 0), (1, None), (2, 0), (0, 1), (2, 1), (0, 0.25), (2, 0.25), (3, 0), (3, None),
    ]  # fmt: skip


def test_the_objective_of_a_completed_trial_is_that_of_its_configuration(ladder):
    told = Told(())
    synchronous(Search(ladder, "nll", [7, 0]), told)
    assert told.heard[-1] == (0, ladder.validation(7))


def test_a_trial_that_has_diverged_fails_at_the_rung_and_is_compared_with_nobody(made):
    nan = math.nan
    stage = made([[1.0] * 3, [1.0, nan, nan], [nan] * 3], [[0.0, 0.0, 0.5]] * 3)
    for bracket in (asynchronous, synchronous):
        told = Told(range(3))
        replay = bracket(Search(stage, "nll", [2, 1, 0]), told)
        assert (replay.steps, replay.completed) == (5 + 15 + 30, {0})
        assert (0, 0) not in told.heard
        assert (1, 0) in told.heard
        assert (1, 1) not in told.heard
