"""One durable search over one stage: begun, continued, or returned as it is."""

from __future__ import annotations

import time
from dataclasses import dataclass

from align.recipe import Recipe
from align.recipe.model import is_reference
from align.stages.evaluation.comparison import Compared
from align.stages.evaluation.measures import key_of
from cluster.database import Database, open_database
from cluster.database.tables import Sweep
from cluster.registry import AdapterVersion, Registry
from cluster.settings import Settings
from cluster.storage import Storage
from sweeps.default import gain_over_default
from sweeps.errors import SweepError
from sweeps.events import Event, MilestoneReported, OnEvent, StageFinished, StageStarted, ignore
from sweeps.ledger import FAILED, FINISHED, RUNNING, STOPPED, Search, begin, read, update
from sweeps.needs import check_adapter, check_rank, check_same_weights
from sweeps.pool.job import TRIAL, Job, portable, trial_key
from sweeps.pool.workspace import discard_checkpoints
from sweeps.study.bridge import StudyBridge
from sweeps.study.trials import TrialSummary, best_of


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep: its trials, and the best of them as a registered version.

    `seconds` is what it took over all attempts; `gain` holds the best against the default on the
    same validation items, where both kept their rows.
    """

    line: str
    study: str
    run: int
    version: AdapterVersion
    trials: tuple[TrialSummary, ...]
    best: TrialSummary
    seconds: float
    gain: Compared | None = None

    @property
    def pruned(self) -> int:
        """Trials that were stopped at a rung."""
        return sum(trial.state == "PRUNED" for trial in self.trials)

    @property
    def failed(self) -> int:
        """Trials that ended with an error or an objective that is no number."""
        return sum(trial.state == "FAIL" for trial in self.trials)


def run_sweep(
    settings: Settings,
    recipe: Recipe,
    stage: str,
    parent: AdapterVersion | None = None,
    reward_model: AdapterVersion | None = None,
    *,
    fresh: bool = False,
    on_event: OnEvent | None = None,
    cpus_per_trial: int = 1,
    max_concurrent: int | None = None,
    factory: str = TRIAL,
) -> SweepResult:
    """Search `stage`, on the Ray that this process is connected to, and register the best trial.

    A sweep of the same recipe, data, seed, parent and reward model is continued if it was
    interrupted or is to have more trials now, and returned as it is if it has finished; `fresh`
    starts another run. SweepLocked if another process drives it; SweepError if no trial was
    completed; whatever AligneryError a first trial shows to be wrong with all of them.
    """
    _check(recipe, stage, parent, reward_model)
    search = Search(recipe, stage, _id(parent), _id(reward_model))
    job = Job(
        settings=portable(settings),
        recipe=recipe,
        stage=stage,
        study="",
        parent_id=_id(parent),
        reward_model_id=_id(reward_model),
        cpus=cpus_per_trial,
        factory=factory,
    )
    database = open_database(settings)
    try:
        row = begin(database, search, fresh)
        job.study = row.study
        sweep = _Sweep(settings, database, job, row.id, on_event or ignore)
        return sweep.run(max_concurrent)
    finally:
        database.close()


class _Sweep:
    """One attempt at one sweep."""

    def __init__(
        self, settings: Settings, database: Database, job: Job, row: int, on_event: OnEvent
    ) -> None:
        self._settings = settings
        self._database = database
        self._job = job
        self._row = row
        self._on_event = on_event
        self._config = job.recipe.stages[job.stage]
        self._since = time.monotonic()

    def run(self, max_concurrent: int | None) -> SweepResult:
        with StudyBridge(self._settings, self._database, self._job.study, self._config) as bridge:
            row = read(self._database, self._row)  # a driver before us may just have finished it
            if row.state == FINISHED and bridge.finished:
                return self._result(row, tuple(bridge.trials()), reused=True)
            self._save(state=RUNNING)
            try:
                if not bridge.finished:
                    self._run_trials(bridge, row, max_concurrent)
                return self._finish(tuple(bridge.trials()))
            except BaseException:
                if read(self._database, self._row).state == RUNNING:
                    self._save(state=STOPPED)
                raise

    def _run_trials(self, bridge: StudyBridge, row: Sweep, max_concurrent: int | None) -> None:
        from sweeps.pool.tune import capacity, run_trials  # imports Ray

        fit, resources = capacity(self._job.cpus)
        concurrent = min(bridge.wanted, max_concurrent or fit)
        recipe, config = self._job.recipe, self._config
        started = StageStarted(
            line=row.line,
            stage=row.stage,
            run=row.run,
            trials=bridge.wanted,
            steps=recipe.steps(row.stage),
            objective=config.objective,
            minimised=config.minimised,
            concurrent=concurrent,
            budget_seconds=config.budget_seconds,
            seconds_before=row.seconds,
            earlier=tuple(bridge.trials()),
        )
        self._on_event(started)
        run_trials(bridge, self._job, concurrent, resources, self._heard)
        if not bridge.finished:
            raise SweepError(
                f"Ray ended before all trials of {row.study} had; run the same command again: "
                "the sweep goes on where it stopped"
            )

    def _heard(self, event: Event) -> None:
        if isinstance(event, MilestoneReported):
            self._save()  # a killed driver loses the time since the last milestone only
        self._on_event(event)

    def _finish(self, trials: tuple[TrialSummary, ...]) -> SweepResult:
        best = best_of(trials, self._config.minimised)
        if best is None:
            self._save(state=FAILED)
            raise SweepError(_no_result(self._job, trials))
        storage = Storage(self._settings)
        folder = storage.get_folder(trial_key(self._job.study, best.number, "published"))
        line = self._job.recipe.line(self._job.stage)
        version = Registry(self._database, storage).register(line, folder)
        row = self._save(state=FINISHED, best_trial=best.number, adapter_id=version.adapter_id)
        discard_checkpoints(self._settings, row.study, [one.number for one in trials])
        return self._result(row, trials)

    def _result(
        self, row: Sweep, trials: tuple[TrialSummary, ...], reused: bool = False
    ) -> SweepResult:
        storage = Storage(self._settings)
        registry = Registry(self._database, storage)
        versions = registry.versions(row.line)
        version = next(one for one in versions if one.adapter_id == row.adapter_id)
        best = next(one for one in trials if one.number == row.best_trial)
        config = self._config
        measure = key_of(config.objective, config.method)
        gain = gain_over_default(storage, row.study, best.number, measure)
        self._on_event(
            StageFinished(
                row.line,
                row.stage,
                version.name,
                best,
                trials,
                row.seconds,
                config.budget_seconds,
                reused,
                gain,
            )
        )
        return SweepResult(row.line, row.study, row.run, version, trials, best, row.seconds, gain)

    def _save(self, **fields: object) -> Sweep:
        """Update the row, and add the time since it was last saved."""
        since, self._since = self._since, time.monotonic()
        return update(self._database, self._row, self._since - since, **fields)


def _check(
    recipe: Recipe, stage: str, parent: AdapterVersion | None, reward_model: AdapterVersion | None
) -> None:
    if stage not in recipe.stages:
        raise SweepError(
            f"recipe '{recipe.name}' has no stage '{stage}'; it has {', '.join(recipe.stages)}"
        )
    config = recipe.stages[stage]
    for field, given in (("parent", parent), ("reward_model", reward_model)):
        needed = getattr(config, field)
        if (needed is None) != (given is None):
            kind = "adapter" if is_reference(needed) else "an adapter of stage"
            wanted = f"{kind} '{needed}'" if needed else "none"
            came = given.name if given else "none"
            raise SweepError(f"stage '{stage}' takes {wanted} as its {field}; got {came}")
        if given is not None:
            check_adapter(recipe, stage, field, given)
    if parent is not None:
        check_rank(recipe, [stage], parent)
    if parent is not None and reward_model is not None:
        check_same_weights(recipe, parent, reward_model)


def _no_result(job: Job, trials: tuple[TrialSummary, ...]) -> str:
    reasons = "; ".join(
        f"trial {one.number} {one.state}" + (f" ({one.reason})" if one.reason else "")
        for one in trials
    )
    return (
        f"no trial of {job.study} was completed: {reasons}. Change the recipe's stage "
        f"'{job.stage}' (a lower learning_rate, other rungs) or data, and run the sweep again"
    )


def _id(version: AdapterVersion | None) -> str | None:
    return None if version is None else version.adapter_id
