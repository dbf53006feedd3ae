"""Samplers by name: what they are given, what they are refused, and what they suggest."""

import importlib.util

import optuna
import pytest

from cluster.database import open_database
from sweeps.errors import SweepError
from sweeps.study.samplers import Sampling, startup_trials
from sweeps.study.storage import open_storage
from sweeps.study.study_session import StudySession
from tests.sweeps.driving import STUDY, at, run_all, search, stage_with, told, value

CHOICES = {
    "learning_rate": {"choice": [1e-3, 1e-2]},
    "lora": {"r": {"choice": [4, 8, 16], "default": 8}, "lora_alpha": "2 * r"},
}
TWO_NUMBERS = {
    "lora": {"r": 8, "lora_alpha": 16},
    "weight_decay": {"uniform": [0.0, 0.2]},
}


@pytest.fixture
def database(settings):
    return open_database(settings)


def sampler_of(**sweep):
    return Sampling(stage_with(**sweep)).make(5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tpe", "TPESampler"),
        ("TPESampler", "TPESampler"),
        ("random", "RandomSampler"),
        ("qmc", "QMCSampler"),
        ("nsga2", "NSGAIISampler"),
        ("nsga3", "NSGAIIISampler"),
        ("gp", "GPSampler"),
    ],
)
def test_samplers_have_short_names_and_those_of_optuna(name, kind):
    assert type(sampler_of(sampler=name)).__name__ == kind


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "nsga2", "nsga3", "partial_fixed"])
def test_a_whole_search_with_it_is_the_same_for_a_seed_alone(settings, database, sampler):
    options = {"fixed_params": {"lora.r": 8}, "base_sampler": {"tpe": {"n_startup_trials": 2}}}
    stages = [
        stage_with(
            TWO_NUMBERS if sampler == "qmc" else None,
            trials=6,
            seed=seed,
            sampler=sampler,
            sampler_options=options if sampler == "partial_fixed" else {},
        )
        for seed in (1, 1, 2)
    ]
    one, again, other = (
        told(search(settings, database, stage, f"toy/sft/{index}"))
        for index, stage in enumerate(stages)
    )
    assert one == again
    assert (one != other) or sampler == "qmc"  # its sequence has no seed unless scrambled
    rates = [params["learning_rate"] for _, _, params, *_ in one]
    assert len(set(rates)) == 6
    if sampler == "partial_fixed":
        assert {params["lora.r"] for _, _, params, *_ in one} == {8}


def test_a_model_based_search_finds_better_points_than_chance(settings, database):
    best = {}
    for sampler in ("tpe", "random"):
        found = [
            search(
                settings,
                database,
                stage_with(
                    {"learning_rate": {"loguniform": [1e-8, 1.0], "default": 1.0}},
                    trials=24,
                    rungs=[],
                    sampler=sampler,
                    seed=seed,
                ),
                f"{sampler}/sft/{seed}",
                lambda params, index: value(params, 2),
            )
            for seed in range(2)
        ]
        best[sampler] = sum(max(one.objective for one in trials) for trials in found)
    assert best["tpe"] > best["random"]


@pytest.mark.parametrize(("trials", "startup"), [(2, 2), (4, 2), (12, 4), (30, 10), (500, 10)])
def test_random_trials_at_the_start_are_a_third_of_a_small_budget(trials, startup):
    sweep = stage_with(trials=trials).sweep
    assert startup_trials(sweep) == startup
    assert sampler_of(sampler="tpe", trials=trials)._n_startup_trials == startup


def test_startup_trials_may_be_given_once():
    assert sampler_of(sampler="tpe", startup_trials=7)._n_startup_trials == 7
    with pytest.raises(SweepError, match=r"n_startup_trials and sweep\.startup_trials say the"):
        sampler_of(sampler="tpe", startup_trials=7, sampler_options={"n_startup_trials": 3})
    with pytest.raises(SweepError, match="startup_trials: sampler random has no random start"):
        sampler_of(sampler="random", startup_trials=7)


def test_a_genetic_population_fits_the_budget():
    assert sampler_of(sampler="nsga2", trials=24).population_size == 6
    options = {"population_size": 9, "crossover": "SBXCrossover"}
    assert sampler_of(sampler="nsga2", trials=24, sampler_options=options).population_size == 9


def test_conditional_fields_are_modelled_in_groups():
    when = {"weight_decay": {"uniform": [0.0, 0.2], "when": {"lora.r": 4}}}
    assert Sampling(stage_with(when, sampler="tpe")).make(1)._group
    assert not sampler_of(sampler="tpe")._group


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        (
            "tpe",
            {"n_startup_trails": 3},
            r"sampler_options\.n_startup_trails: tpe has no such option; "
            r"did you mean n_startup_trials.*allowed: .*n_ei_candidates",
        ),
        ("tpe", {"n_ei_candidates": "many"}, r"n_ei_candidates: expected int; got 'many'"),
        ("tpe", {"multivariate": 1}, r"multivariate: expected bool; got 1"),
        ("tpe", {"seed": 3}, r"seed: the seed of a search is sweep\.seed"),
        ("tpe", {"gamma": 3}, r"gamma: a recipe cannot hold what tpe takes there"),
        ("tpe", {"group": True, "multivariate": False}, r"sampler_options: ``group`` option can"),
        ("random", {"x": 1}, r"random has no such option; allowed: none"),
        ("nsga2", {"population_size": 1}, r"sampler_options: `population_size` must be greater"),
        ("nsga2", {"crossover": "SBX"}, r"crossover: allowed: .*SBXCrossover.*got 'SBX'"),
        ("qmc", {"qmc_type": "sobel"}, r"The `qmc_type='sobel'` is invalid"),
        ("brute_force", {"avoid_premature_stop": True}, r"every point is tried once"),
        ("partial_fixed", {"fixed_params": {}}, r"missing 1 required.*'base_sampler'"),
        (
            "partial_fixed",
            {"fixed_params": {}, "base_sampler": "grid"},
            r"base_sampler: GridSampler can only stand alone",
        ),
    ],
)
def test_wrong_options_are_told_before_anything_is_spent(
    settings, database, sampler, options, message
):
    stage = stage_with(CHOICES, sampler=sampler, sampler_options=options)
    with pytest.raises(SweepError, match=message) as caught:
        StudySession(settings, database, STUDY, stage)
    assert "\n" not in str(caught.value)
    assert STUDY not in optuna.get_all_study_names(open_storage(settings))


def test_an_unknown_sampler_names_near_ones():
    stage = stage_with()
    stage.sweep.sampler = "tep"
    with pytest.raises(SweepError, match=r"sweep\.sampler: .*tpe"):
        Sampling(stage)


def test_a_sampler_whose_package_is_missing_names_it(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "cmaes" else found(name)
    )
    with pytest.raises(SweepError, match=r"sampler: cmaes needs cmaes: pip install cmaes"):
        sampler_of(sampler="cmaes")


@pytest.mark.parametrize("sampler", ["grid", "GridSampler", "brute_force"])
def test_a_grid_has_every_point_once_and_the_default_first(settings, database, sampler):
    stage = stage_with(CHOICES, trials=10, sampler=sampler, rungs=[])
    with StudySession(settings, database, STUDY, stage) as bridge:
        assert bridge.wanted == 6
        assert bridge.notes == [
            "the grid has 6 points, fewer than sweep.trials (10): each is tried once"
        ]
        trials = run_all(bridge, lambda params, index: value(params, 2))
        assert bridge.finished and bridge.ask() is None
    assert trials[0].params == stage.defaults()
    assert len({str(sorted(one.params.items())) for one in trials}) == len(trials) == 6


def test_a_grid_may_be_cut_short_resumed_and_have_points_of_its_own(settings, database):
    stage = stage_with(
        {"weight_decay": {"uniform": [0.0, 0.2], "when": {"lora.r": 4}}},
        trials=5,
        sampler="grid",
        rungs=[],
        points=[{"learning_rate": 1e-4}],
        sampler_options={"search_space": {"learning_rate": [1e-4, 1e-3], "weight_decay": [0, 0.1]}},
    )
    with StudySession(settings, database, STUDY, stage) as bridge:
        assert bridge.ask().params == {"learning_rate": 1e-3, "lora.r": 8}
        assert bridge.ask().params == {"learning_rate": 1e-4, "lora.r": 8}
    with StudySession(settings, database, STUDY, stage) as bridge:
        assert len(run_all(bridge, lambda params, index: value(params, 2))) == 5
    stage.sweep.trials = 100
    trials = search(settings, database, stage, measure=lambda params, index: value(params, 2))
    # Two rates at ranks 8 and 16, and at rank 4 each with two decays.
    assert len(trials) == 8
    assert sum("weight_decay" in one.params for one in trials) == 4


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        ("grid", {}, r"cannot hold every value of learning_rate: loguniform \[1e-05, 0\.1\]"),
        ("brute_force", {}, r"cannot hold every value of learning_rate"),
        ("grid", {"search_space": {"learning_rate": [1.0]}}, r"learning_rate: 1\.0 lies outside"),
        ("grid", {"search_space": {"learning_rate": 1e-3}}, r"expected a list of values"),
        ("grid", {"search_space": {"learning_rate": [1e-3], "beta": [1]}}, r"not searched here: b"),
        ("brute_force", {"search_space": {}}, r"brute_force has no such option"),
    ],
)
def test_what_cannot_be_gridded_is_told_by_field(sampler, options, message):
    with pytest.raises(SweepError, match=message):
        Sampling(stage_with(sampler=sampler, sampler_options=options))


def test_a_grid_without_end_is_refused():
    stage = stage_with(
        {"learning_rate": {"choice": [1e-3]}, "max_length": {"int": [8, 100_000]}}, sampler="grid"
    )
    with pytest.raises(SweepError, match="more than 10,000 points"):
        Sampling(stage)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_the_sampler_hears_how_far_constraints_are_broken(settings, database, sampler):
    stage = stage_with(trials=3, sampler=sampler)
    with StudySession(settings, database, STUDY, stage) as bridge:
        for violation in (-0.1, 0.25):
            number = bridge.ask().number
            bridge.report(number, at(2, 0.5, violation=violation))
        bridge.ask()
    study = optuna.load_study(study_name=STUDY, storage=open_storage(settings))
    assert [one.constraints for one in study.trials[:2]] == [
        {"violation": -0.1},
        {"violation": 0.25},
    ]
