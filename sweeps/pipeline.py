"""The stages of a recipe as a graph: each is searched as soon as what it builds on is known."""

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
from sweeps.errors import SweepError, SweepPaused
from sweeps.events import OnEvent, PoolChanged, ignore
from sweeps.open_sweep import Driver, OpenSweep
from sweeps.pool.dispatch import Dispatcher
from sweeps.pool.placement import Placement, make_placement
from sweeps.pool.shipping import ship_data
from sweeps.pool.stage_job import TRIAL, StageJob, portable
from sweeps.results.sweep_result import SweepResult
from sweeps.sweep_store import Search, begin


class Asked(Protocol):
    """What another process asks of this one; `sweeps.control.Control` describes the members."""

    launch: int

    def asked(self, line: str | None = None) -> str: ...
    def beat(self) -> None: ...


@dataclass(frozen=True)
class Needs:
    """The adapters that a stage builds on."""

    parent: AdapterVersion | None = None
    reward_model: AdapterVersion | None = None


#: What a stage builds on; None while it is being searched.
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
    cpus_per_trial: int = 1,
    max_concurrent: int | None = None,
    factory: str = TRIAL,
) -> dict[str, SweepResult]:
    """Search `stages` (default: all), each when what it needs is done; results by stage.

    Stages that do not build on each other run side by side where the pool has room. A stage
    builds on the best of the sweeps just done; where those were not asked for, on the line's
    champion, else its newest version; or on the registered adapter that it names. What is not
    searched here is looked up first: an alias that moves meanwhile changes nothing. With
    `promote`, each best becomes its line's champion as soon as it is known.

    `control` is asked about pausing (SweepPaused; everything begun can be continued) and stopping:
    what is complete by then is the result, and later stages do not start. SweepError names the
    command that is to be run first, or the adapter that does not fit; PromotionConflict if
    somebody else promoted meanwhile; what `run_sweep` raises. One stage's error ends all.
    """
    order = chosen(recipe, stages)
    registry = open_registry(settings)
    found = find_needs(registry, recipe, order)
    results: dict[str, SweepResult] = {}
    before: dict[str, AdapterVersion | None] = {}

    def needs(stage: str) -> Needs | None:
        config = recipe.stages[stage]
        names = config.parent, config.reward_model
        if any(name in order and name not in results for name in names):
            return None
        before[stage] = _champion(registry, recipe.line(stage))
        return Needs(*(_needed(name, results, found) for name in names))

    def done(stage: str, result: SweepResult) -> None:
        results[stage] = result
        if promote:
            expected = before[stage]
            registry.promote(
                result.line,
                result.version.number,
                expected=expected.adapter_id if expected else None,
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
    factory: str,
) -> dict[str, SweepResult]:
    """Search the stages of `order` in one pool of workers; `done` hears of each result at once."""
    from sweeps.pool.ray_artifact_cache import shelf_session
    from sweeps.pool.tune import run_trials  # imports Ray

    database = open_database(settings)
    graph = _Graph(recipe, order, needs, done, on_event or ignore, control)
    pool = Dispatcher(graph, placement)
    driver = Driver(settings, database, on_event or ignore, pool.slots)
    try:
        graph.begin(driver, placement, factory, fresh)
        if not graph.finished:
            # On one machine all workers have the same files.
            several = settings.ray_address is not None or len(read_pool()) > 1
            with shelf_session() if several else nullcontext() as shelf:
                graph.share(shelf)
                run_trials(pool)
        return {stage: graph.results[stage] for stage in order if stage in graph.results}
    finally:
        graph.leave()
        database.close()


class _Graph:
    """Which stages wait, are open and are done; what the pool runs is that of the open ones."""

    def __init__(
        self,
        recipe: Recipe,
        order: Sequence[str],
        needs: FindNeeds,
        done: Callable[[str, SweepResult], None] | None,
        on_event: OnEvent,
        control: Asked | None,
    ) -> None:
        self.results: dict[str, SweepResult] = {}
        self._recipe, self._needs, self._done = recipe, needs, done
        self._on_event, self._control = on_event, control
        self._waiting = list(order)
        self._open: list[OpenSweep] = []
        self._stopping = False
        self._shelf: str | None = None

    def begin(self, driver: Driver, placement: Placement, factory: str, fresh: bool) -> None:
        """Open what can be opened; a cluster's machines get this one's files by storage."""
        self._driver, self._placement, self._factory = driver, placement, factory
        self._fresh, settings = fresh, driver.settings
        joined = settings.ray_address is not None
        self._travelling = ship_data(settings, self._recipe, code=True) if joined else self._recipe
        self._settle()

    def share(self, shelf: str | None) -> None:
        """Workers share what they prepare by this shelf, if there is one."""
        self._shelf = shelf
        for one in self._open:
            one.job.shelf = shelf

    @property
    def sources(self) -> Sequence[OpenSweep]:
        """The open sweeps, earlier stages first."""
        return tuple(self._open)

    @property
    def finished(self) -> bool:
        """Whether no stage is open, and none will be."""
        return not self._open and not self._waiting

    def look(self) -> None:
        """Do what was asked, and open what can be opened now. Called in each round of the pool."""
        if self._control is not None:
            self._control.beat()
            self._obey(self._control)
        self._settle()

    def pool_changed(self, nodes: int, slots: int) -> None:
        """Tell whoever watches."""
        self._on_event(PoolChanged(nodes, slots))

    def leave(self) -> None:
        """Let go of what is open, so that another driver goes on with it."""
        for one in self._open:
            one.leave()
        self._open.clear()

    def _obey(self, control: Asked) -> None:
        whole = control.asked()
        if whole == "pause":
            raise SweepPaused(self._recipe.name)
        if whole == "stop":
            self._stopping = True
            self._waiting.clear()
        for one in self._open:
            if self._stopping or control.asked(one.line) == "stop":
                one.stop()

    def _settle(self) -> None:
        """Take in what has ended, open what waited for it, and so on."""
        while self._close_ended() or self._open_next():
            pass

    def _close_ended(self) -> bool:
        ended = [one for one in self._open if one.ended]
        for one in ended:
            self._open.remove(one)
            if one.result is not None:
                self.results[one.job.stage] = one.result
                if self._done is not None:
                    self._done(one.job.stage, one.result)
            elif not self._stopping:
                raise SweepError(
                    f"{one.line} was stopped before a trial was complete, so nothing can build on "
                    f"it; go on with `alignery sweep resume {self._recipe.name}`"
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
        given = (needs.parent, needs.reward_model)
        parent, judge = (one.adapter_id if one else None for one in given)
        search = Search(self._recipe, stage, parent, judge)
        launch = None if self._control is None else self._control.launch
        row = begin(self._driver.database, search, self._fresh, launch)
        job = StageJob(
            settings=portable(self._driver.settings),
            recipe=self._travelling,
            stage=stage,
            study=row.study,
            parent_id=parent,
            reward_model_id=judge,
            cpus=self._placement.cpus,
            gpus=self._placement.gpus.get(stage, 0.0),
            shelf=self._shelf,
            factory=self._factory,
        )
        return OpenSweep(self._driver, job, row)


def chosen(recipe: Recipe, stages: Sequence[str] | None) -> list[str]:
    """The stages to search, each after those it needs. SweepError names an unknown one."""
    if unknown := [stage for stage in stages or () if stage not in recipe.stages]:
        raise SweepError(
            f"recipe '{recipe.name}' has no stage '{unknown[0]}'; it has {', '.join(recipe.stages)}"
        )
    return [stage for stage in recipe.order() if not stages or stage in stages]


def _needed(
    name: str | None, done: Mapping[str, SweepResult], found: Mapping[str, AdapterVersion]
) -> AdapterVersion | None:
    if name is None:
        return None
    return done[name].version if name in done else found[name]


def _champion(registry: Registry, line: str) -> AdapterVersion | None:
    return registry.aliases(line).get(f"{line}@{CHAMPION}")
