"""How much each searched field mattered, by Optuna's evaluator."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from align.recipe import StageConfig
from sweeps.report.data import Importance
from sweeps.study.distributions import distribution
from sweeps.study.trials import TrialSummary

#: Fewer trials than this tell nothing.
_ENOUGH = 8
#: The evaluator asks what sets the best share of trials apart; it wants at least five of them.
_TOP, _TOP_TRIALS = 0.1, 5


def importance(stage: StageConfig, trials: Sequence[TrialSummary]) -> Importance:
    """Shares of the searched fields, by PED-ANOVA (Watanabe et al., arXiv 2304.10255).

    Of the complete trials; where these are too few, of all by what they measured at the first
    rung, which pruned trials have as well.
    """
    spaces = stage.space()
    if not spaces:
        return Importance({}, "Nothing is searched.")
    whole = {one.number: one.objective for one in trials if one.state == "COMPLETE"}
    first = stage.sweep.rungs[0] if stage.sweep.rungs else None
    early = {one.number: one.rungs[first].get("objective") for one in trials if first in one.rungs}
    values, where = (whole, "complete trials") if len(whole) >= _ENOUGH else (early, "")
    found = [(one, value) for one in trials if (value := values.get(one.number)) is not None]
    if len(found) < _ENOUGH:
        return Importance(
            {}, f"Too few trials to tell: {len(whole)} are complete, it takes {_ENOUGH}."
        )
    told = f"Of {len(found)} {where or f'trials by their objective at step {first}'}."
    if len(found) < 4 * _ENOUGH:
        told += " With so few it is a hint."
    return Importance(_shares(stage, found), told)


def _shares(stage: StageConfig, found: Sequence[tuple[TrialSummary, float]]) -> dict[str, float]:
    spaces = {name: distribution(space) for name, space in stage.space().items()}
    study = optuna.create_study(direction="minimize" if stage.minimised else "maximize")
    for one, value in found:
        params = {name: given for name, given in one.params.items() if name in spaces}
        over: dict[str, BaseDistribution] = {name: spaces[name] for name in params}
        study.add_trial(optuna.create_trial(params=params, distributions=over, value=value))
    quantile = min(0.5, max(_TOP, _TOP_TRIALS / len(found)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what there is to say of few trials is said on the page
        shares = get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(target_quantile=quantile)
        )
    return {name: float(share) for name, share in shares.items()}
