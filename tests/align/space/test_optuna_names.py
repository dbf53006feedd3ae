"""The short names of samplers and pruners, and the classes of Optuna that they stand for."""

from align.space.optuna_names import PAIRED, PRUNERS, SAMPLERS, class_name
from tests.align.recipe.searches import sweep


def test_names_are_those_of_the_installed_optuna() -> None:
    import optuna

    samplers, pruners = set(optuna.samplers.__all__), set(optuna.pruners.__all__)
    abstract = {"BaseSampler", "BaseGASampler", "BasePruner", "nsgaii"}
    assert set(SAMPLERS.values()) == samplers - abstract
    assert set(PRUNERS.values()) - {PAIRED} == pruners - abstract


def test_short_names_and_classes_are_taken() -> None:
    assert sweep(sampler="cmaes", pruner="hyperband").sampler == "cmaes"
    assert sweep(sampler="CmaEsSampler", pruner="NopPruner").pruner == "NopPruner"
    assert class_name("tpe", SAMPLERS) == class_name("TPESampler", SAMPLERS) == "TPESampler"
    options = sweep(sampler_options={"n_ei_candidates": 40}, pruner_options={"n_min_trials": 3})
    assert options.sampler_options == {"n_ei_candidates": 40}
