"""Importance of each searched field, by Optuna's evaluator."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from align.recipe import StageConfig
from align.recipe.metric_schedule import rung_metric, rung_minimised
from sweeps.report.data import Importance
from sweeps.study.distributions import distribution
from sweeps.trials import TrialSummary

#: With fewer trials than this, no importance is computed.
_ENOUGH = 8
#: Share of best trials that the evaluator compares with all trials, and their least number.
_TOP, _TOP_TRIALS = 0.1, 5


def importance(stage: StageConfig, trials: Sequence[TrialSummary]) -> Importance:
    """Shares of the searched fields, by PED-ANOVA (Watanabe et al., arXiv 2304.10255).

    They are computed from the complete trials. If these are too few, they are computed from all
    trials by their rung metric or objective at the first rung, which pruned trials have as well.
    """
    spaces = stage.space()
    if not spaces:
        return Importance({}, "Nothing is searched.")
    complete = {trial.number: trial.objective for trial in trials if trial.state == "COMPLETE"}
    first_rung = stage.sweep.rungs[0] if stage.sweep.rungs else None
    metric = rung_metric(stage)
    key = "objective" if metric is None else "rung"
    early = {
        trial.number: trial.rungs[first_rung].get(key)
        for trial in trials
        if first_rung in trial.rungs
    }
    values, source = (complete, "complete trials") if len(complete) >= _ENOUGH else (early, "")
    measured = [
        (trial, value) for trial in trials if (value := values.get(trial.number)) is not None
    ]
    if len(measured) < _ENOUGH:
        return Importance(
            {}, f"Too few trials to tell: {len(complete)} are complete, it takes {_ENOUGH}."
        )
    by_rung = f"trials by their {metric or 'objective'} at step {first_rung}"
    description = f"Of {len(measured)} {source or by_rung}."
    if len(measured) < 4 * _ENOUGH:
        description += " With so few it is a hint."
    minimised = stage.minimised if source or metric is None else rung_minimised(metric)
    return Importance(_shares(stage, measured, minimised), description)


def _shares(
    stage: StageConfig, measured: Sequence[tuple[TrialSummary, float]], minimised: bool
) -> dict[str, float]:
    spaces = {name: distribution(space) for name, space in stage.space().items()}
    study = optuna.create_study(direction="minimize" if minimised else "maximize")
    for trial, value in measured:
        params = {name: param for name, param in trial.params.items() if name in spaces}
        distributions: dict[str, BaseDistribution] = {name: spaces[name] for name in params}
        study.add_trial(
            optuna.create_trial(params=params, distributions=distributions, value=value)
        )
    quantile = min(0.5, max(_TOP, _TOP_TRIALS / len(measured)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the page says if there are few trials
        shares = get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(target_quantile=quantile)
        )
    return {name: float(share) for name, share in shares.items()}
