"""Searches the stages of a recipe as a graph: each starts when its dependencies are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

from align.recipe import Recipe
from cluster.database import open_database
from cluster.names import CHAMPION
from cluster.pool import read_pool
from cluster.registry import AdapterVersion, Registry, open_registry
from cluster.settings import Settings
from sweeps.dependencies import find_needs
from sweeps.driver import Driver
from sweeps.errors import SweepError, SweepPaused
from sweeps.events import OnEvent, PoolChanged, ignore
from sweeps.open_sweep import OpenSweep
from sweeps.pool.dispatch import Dispatcher
from sweeps.pool.placement import Placement, make_placement
from sweeps.pool.shipping import ship_data
from sweeps.pool.stage_job import TRIAL, StageJob, portable
from sweeps.recipe_changes import explain
from sweeps.results.sweep_result import SweepResult
from sweeps.run_store import choose
from sweeps.sweep_store import Search, begin, sweeps


class Asked(Protocol):
    """Requests from other processes; `sweeps.control.Control` describes the members."""

    launch: int

    def asked(self, line: str | None = None) -> str: ...
    def beat(self) -> None: ...


@dataclass(frozen=True)
class Needs:
    """The adapters that a stage builds on."""

    parent: AdapterVersion | None = None
    reward_model: AdapterVersion | None = None


#: Returns the adapters that a stage builds on; None while one of them is still being searched.
FindNeeds = Callable[[str], Needs | None]


def run_pipeline(
    settings: Settings,
    recipe: Recipe,
    stages: Sequence[str] | None = None,
    *,
    fresh: bool = False,
    promote: bool = False,
    on_event: OnEvent | None = None,
    placement: Placement | None = None,
    control: Asked | None = None,
    outside: Mapping[str, AdapterVersion] | None = None,
    sent: Recipe | None = None,
    cpus_per_trial: int = 1,
    max_concurrent: int | None = None,
    factory: str = TRIAL,
) -> dict[str, SweepResult]:
    """Search `stages` (default: all), each when its dependencies are done; results by stage.

    Stages that do not depend on each other run side by side if the pool has room. A stage builds
    on the best adapters of this run's sweeps; on the champion, else the newest version, of a
    stage that is not part of this run; or on a registered adapter named in the recipe. Adapters
    from outside this run are resolved before it starts, so an alias that moves meanwhile changes
    nothing; `outside` has them by name if the caller has resolved them. `sent` is the recipe that
    other machines get, with files in storage; default: `recipe`, whose local files are stored then.
    With `promote`, each best adapter becomes its line's champion as soon as it is known.

    `control` is polled for requests to pause (SweepPaused; all open searches can be continued) and
    to stop: the best complete trials are the result, and later stages do not start. SweepError
    names the command to run first, or the adapter that does not fit. PromotionConflict if another
    process promoted meanwhile. Also raises what `run_sweep` raises. An error of one stage ends all.
    """
    order = choose(recipe, stages)
    registry = open_registry(settings)
    resolved = find_needs(registry, recipe, order) if outside is None else outside
    results: dict[str, SweepResult] = {}
    champions: dict[str, AdapterVersion | None] = {}

    def needs(stage: str) -> Needs | None:
        config = recipe.stages[stage]
        names = config.parent, config.reward_model
        if any(name in order and name not in results for name in names):
            return None
        champions[stage] = _champion(registry, recipe.line(stage))
        return Needs(*(_needed(name, results, resolved) for name in names))

    def done(stage: str, result: SweepResult) -> None:
        results[stage] = result
        if promote:
            champion = champions[stage]
            registry.promote(
                result.line,
                result.version.number,
                expected=champion.adapter_id if champion else None,
                reason=f"best of sweep {result.study}",
            )

    return search(
        settings,
        recipe,
        order,
        needs,
        done,
        fresh=fresh,
        on_event=on_event,
        placement=placement
        or make_placement(settings, recipe, order, cpus_per_trial, max_concurrent=max_concurrent),
        control=control,
        sent=sent,
        factory=factory,
    )


def search(
    settings: Settings,
    recipe: Recipe,
    order: Sequence[str],
    needs: FindNeeds,
    done: Callable[[str, SweepResult], None] | None = None,
    *,
    fresh: bool,
    on_event: OnEvent | None,
    placement: Placement,
    control: Asked | None = None,
    sent: Recipe | None = None,
    factory: str,
) -> dict[str, SweepResult]:
    """Search the stages of `order` in one pool of workers.

    `done` is called with each stage's result as soon as it is known. `sent`: see `run_pipeline`.
    """
    from sweeps.pool.ray_artifact_cache import shelf_session
    from sweeps.pool.tune import run_trials  # imports Ray

    database = open_database(settings)
    graph = _Graph(recipe, sent or recipe, order, needs, done, on_event or ignore, control)
    pool = Dispatcher(graph, placement)
    driver = Driver(settings, database, on_event or ignore, pool.slots)
    try:
        graph.begin(driver, placement, factory, fresh)
        if not graph.finished:
            # On one machine all workers see the same files.
            several_machines = settings.ray_address is not None or len(read_pool()) > 1
            with shelf_session() if several_machines else nullcontext() as shelf:
                graph.share(shelf)
                run_trials(pool)
        return {stage: graph.results[stage] for stage in order if stage in graph.results}
    finally:
        graph.leave()
        database.close()


class _Graph:
    """Which stages wait, are open and are done; the pool runs the trials of the open stages."""

    def __init__(
        self,
        recipe: Recipe,
        sent: Recipe,
        order: Sequence[str],
        needs: FindNeeds,
        done: Callable[[str, SweepResult], None] | None,
        on_event: OnEvent,
        control: Asked | None,
    ) -> None:
        self.results: dict[str, SweepResult] = {}
        self._recipe, self._sent, self._needs, self._done = recipe, sent, needs, done
        self._on_event, self._control = on_event, control
        self._waiting = list(order)
        self._open: list[OpenSweep] = []
        self._stopping = False
        self._shelf: str | None = None

    def begin(self, driver: Driver, placement: Placement, factory: str, fresh: bool) -> None:
        """Open the stages that are ready. Machines of a cluster get local files through storage."""
        self._driver, self._placement, self._factory = driver, placement, factory
        self._fresh, settings = fresh, driver.settings
        on_cluster = settings.ray_address is not None
        self._travelling = (
            ship_data(settings, self._sent, code=True) if on_cluster else self._recipe
        )
        self._settle()

    def share(self, shelf: str | None) -> None:
        """Set the name of the cache through which workers share artifacts; None for no cache."""
        self._shelf = shelf
        for sweep in self._open:
            sweep.job.shelf = shelf

    @property
    def sources(self) -> Sequence[OpenSweep]:
        """The open sweeps, earlier stages first."""
        return tuple(self._open)

    @property
    def finished(self) -> bool:
        """Whether no stage is open or waiting."""
        return not self._open and not self._waiting

    def look(self) -> None:
        """Handle requests, and open the stages that are ready. Called in each round of the pool."""
        if self._control is not None:
            self._control.beat()
            self._obey(self._control)
        self._settle()

    def pool_changed(self, nodes: int, slots: int) -> None:
        """Emit a PoolChanged event."""
        self._on_event(PoolChanged(nodes, slots))

    def leave(self) -> None:
        """Release the open sweeps, so that another driver can continue them."""
        for sweep in self._open:
            sweep.leave()
        self._open.clear()

    def _obey(self, control: Asked) -> None:
        launch_request = control.asked()
        if launch_request == "pause":
            raise SweepPaused(self._recipe.name)
        if launch_request == "stop":
            self._stopping = True
            self._waiting.clear()
        for sweep in self._open:
            if self._stopping or control.asked(sweep.line) == "stop":
                sweep.stop()

    def _settle(self) -> None:
        """Close ended sweeps and open the stages that waited for them, until nothing changes."""
        while self._close_ended() or self._open_next():
            pass

    def _close_ended(self) -> bool:
        ended = [sweep for sweep in self._open if sweep.ended]
        for sweep in ended:
            self._open.remove(sweep)
            if sweep.result is not None:
                self.results[sweep.job.stage] = sweep.result
                if self._done is not None:
                    self._done(sweep.job.stage, sweep.result)
            elif not self._stopping:
                raise SweepError(
                    f"{sweep.line} was stopped before a trial was complete, so nothing can build "
                    f"on it; go on with `alignery sweep resume {self._recipe.name}`"
                )
        return bool(ended)

    def _open_next(self) -> bool:
        for stage in self._waiting:
            if (needs := self._needs(stage)) is not None:
                self._waiting.remove(stage)
                self._open.append(self._opened(stage, needs))
                return True
        return False

    def _opened(self, stage: str, needs: Needs) -> OpenSweep:
        adapters = (needs.parent, needs.reward_model)
        parent_id, reward_model_id = (
            adapter.adapter_id if adapter else None for adapter in adapters
        )
        search = Search(self._recipe, stage, parent_id, reward_model_id)
        launch = None if self._control is None else self._control.launch
        earlier = sweeps(self._driver.database, search.line)
        row = begin(self._driver.database, search, self._fresh, launch)
        change = "" if self._fresh else explain(search, row, earlier)
        job = StageJob(
            settings=portable(self._driver.settings),
            recipe=self._travelling,
            stage=stage,
            study=row.study,
            parent_id=parent_id,
            reward_model_id=reward_model_id,
            cpus=self._placement.cpus,
            gpus=self._placement.gpus.get(stage, 0.0),
            shelf=self._shelf,
            factory=self._factory,
        )
        return OpenSweep(self._driver, job, row, change)


def _needed(
    name: str | None, results: Mapping[str, SweepResult], outside: Mapping[str, AdapterVersion]
) -> AdapterVersion | None:
    if name is None:
        return None
    return results[name].version if name in results else outside[name]


def _champion(registry: Registry, line: str) -> AdapterVersion | None:
    return registry.aliases(line).get(f"{line}@{CHAMPION}")
