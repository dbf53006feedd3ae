"""Collects a report's data from the launch, its sweeps, the studies and the registry."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version

import optuna

from align.adapters.provenance import code_commit, versions
from align.recipe.show import to_yaml
from cluster.database import Database
from cluster.database.tables import Launch, Sweep
from cluster.registry import Registry
from cluster.settings import Settings
from cluster.storage import Storage
from sweeps.control import state_of
from sweeps.finalists import Standing
from sweeps.report.data import StageReport, SweepReport, parameters
from sweeps.report.importance import importance
from sweeps.report.prior_gain import prior_gain
from sweeps.run_store import RunTarget, recipe_of, remarks_on, rows_of, trial_price
from sweeps.study.storage import read_trials

_PACKAGES = ("ray", "optuna")


def gather(settings: Settings, database: Database, target: RunTarget) -> SweepReport:
    """The report of a launch, or of a single sweep, in its current state."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    launch, row = target.launch, target.row
    rows = [row] if row is not None else rows_of(database, launch) if launch else []
    adapters = Registry(database, Storage(settings)).versions()
    names = {adapter.adapter_id: adapter.name for adapter in adapters}
    stages = tuple(_stage(settings, database, sweep, names) for sweep in rows)
    recipe = recipe_of(row or launch or rows[0])
    begun = {stage.stage for stage in stages}
    waiting = () if row is not None or launch is None else tuple(launch.stages)
    state = "" if launch is None else state_of(settings, database, launch)
    return SweepReport(
        name=row.line if row is not None else recipe.name,
        state=row.state if row is not None else state,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        base=recipe.base,
        stages=stages,
        recipe=to_yaml(recipe),
        packages=_packages(),
        waiting=tuple(stage for stage in waiting if stage not in begun),
        about=_about(launch, state),
    )


def _stage(
    settings: Settings, database: Database, row: Sweep, names: dict[str, str]
) -> StageReport:
    recipe = recipe_of(row)
    config = recipe.stages[row.stage]
    trials = [trial for trial in read_trials(settings, row.study) if trial.state != "WAITING"]
    spared = prior_gain(trials, config.minimised)
    return StageReport(
        stage=row.stage,
        line=row.line,
        run=row.run,
        state=row.state,
        method=config.method,
        objective=config.objective,
        minimised=config.minimised,
        parameters=parameters(config.space()),
        trials=tuple(trials),
        rungs=tuple(config.sweep.rungs),
        totals={trial.number: recipe.steps(row.stage, trial.params) for trial in trials},
        wanted=config.sweep.trials if config.space() else 1,
        importance=importance(config, trials),
        chosen=row.best_trial,
        standing=None if row.unseen is None else Standing.read(row.unseen),
        version=names.get(row.adapter_id or "", ""),
        parent=names.get(row.parent_id or "", config.parent or ""),
        reward_model=names.get(row.reward_model_id or "", config.reward_model or ""),
        seconds=row.seconds,
        remarks=tuple(filter(None, (*remarks_on(database, row), spared))),
        usd_per_hour=trial_price(database, row),
    )


def _packages() -> dict[str, str]:
    packages = {**versions(), **{name: version(name) for name in _PACKAGES}}
    commit = code_commit()
    return (
        packages
        if commit is None
        else {**packages, "alignery": f"{packages['alignery']}, {commit}"}
    )


def _about(launch: Launch | None, state: str) -> dict[str, str]:
    if launch is None:
        return {}
    facts = {
        "Run": f"{launch.id}, {state}" + (f" ({launch.reason})" if launch.reason else ""),
        "Began": f"{launch.created_at:%Y-%m-%d %H:%M} UTC",
        "Ended": "" if launch.ended_at is None else f"{launch.ended_at:%Y-%m-%d %H:%M} UTC",
        "Driver": launch.driver,
        "Job": launch.job_id or "",
    }
    return {title: text for title, text in facts.items() if text}
