"""All stages of a recipe, one sweep after the other, each on the best of those it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from align.recipe import Recipe
from cluster.names import CHAMPION
from cluster.registry import AdapterVersion, Registry, open_registry
from cluster.settings import Settings
from sweeps.errors import SweepError
from sweeps.events import OnEvent
from sweeps.needs import find_needs
from sweeps.pool.job import TRIAL
from sweeps.sweep import SweepResult, run_sweep


def run_pipeline(
    settings: Settings,
    recipe: Recipe,
    stages: Sequence[str] | None = None,
    *,
    fresh: bool = False,
    promote: bool = False,
    on_event: OnEvent | None = None,
    cpus_per_trial: int = 1,
    max_concurrent: int | None = None,
    factory: str = TRIAL,
) -> dict[str, SweepResult]:
    """Search `stages` (default: all) in an order that fits; results by stage in that order.

    A stage builds on the best of the sweeps just done; where those were not asked for, on the
    line's champion, else its newest version; or on the registered adapter that it names. What is
    not searched here is looked up first: an alias that moves meanwhile changes nothing. With
    `promote`, each best becomes its line's champion as soon as it is known. SweepError names the
    command that is to be run first, or the adapter that does not fit; PromotionConflict if
    somebody else promoted meanwhile; what `run_sweep` raises.
    """
    order = chosen(recipe, stages)
    registry = open_registry(settings)
    found = find_needs(registry, recipe, order)
    results: dict[str, SweepResult] = {}
    for stage in order:
        config, line = recipe.stages[stage], recipe.line(stage)
        before = _champion(registry, line)
        results[stage] = run_sweep(
            settings,
            recipe,
            stage,
            _needed(config.parent, results, found),
            _needed(config.reward_model, results, found),
            fresh=fresh,
            on_event=on_event,
            cpus_per_trial=cpus_per_trial,
            max_concurrent=max_concurrent,
            factory=factory,
        )
        if promote:
            result = results[stage]
            registry.promote(
                line,
                result.version.number,
                expected=before.adapter_id if before else None,
                reason=f"best of sweep {result.study}",
            )
    return results


def chosen(recipe: Recipe, stages: Sequence[str] | None) -> list[str]:
    """The stages to search, each after those it needs. SweepError names an unknown one."""
    if unknown := [stage for stage in stages or () if stage not in recipe.stages]:
        raise SweepError(
            f"recipe '{recipe.name}' has no stage '{unknown[0]}'; it has {', '.join(recipe.stages)}"
        )
    return [stage for stage in recipe.order() if not stages or stage in stages]


def check_needs(settings: Settings, recipe: Recipe, stages: Sequence[str]) -> None:
    """SweepError if what `stages` build on from outside is not there, or does not fit."""
    find_needs(open_registry(settings), recipe, stages)


def _needed(
    name: str | None, done: Mapping[str, SweepResult], found: Mapping[str, AdapterVersion]
) -> AdapterVersion | None:
    if name is None:
        return None
    return done[name].version if name in done else found[name]


def _champion(registry: Registry, line: str) -> AdapterVersion | None:
    return registry.aliases(line).get(f"{line}@{CHAMPION}")
