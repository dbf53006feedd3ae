"""All stages of a recipe, one sweep after the other, each on the best of those it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from align.recipe import Recipe, builtin_recipes
from cluster.names import CHAMPION
from cluster.registry import AdapterVersion, Registry, open_registry
from cluster.settings import Settings
from sweeps.errors import SweepError
from sweeps.events import OnEvent
from sweeps.job import TRIAL
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
    line's champion, else its newest version. With `promote`, each best becomes its line's
    champion as soon as it is known. SweepError names the command that is to be run first;
    PromotionConflict if somebody else promoted meanwhile; what `run_sweep` raises.
    """
    order = chosen(recipe, stages)
    check_needs(settings, recipe, order)
    registry = open_registry(settings)
    results: dict[str, SweepResult] = {}
    for stage in order:
        config, line = recipe.stages[stage], recipe.line(stage)
        before = _champion(registry, line)
        results[stage] = run_sweep(
            settings,
            recipe,
            stage,
            _needed(registry, recipe, config.parent, results),
            _needed(registry, recipe, config.reward_model, results),
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
    """SweepError if `stages` build on one that is not among them and has no adapter yet."""
    registry = open_registry(settings)
    for stage in stages:
        for need in recipe.needs(stage):
            if need not in stages:
                _earlier(registry, recipe, need)


def _needed(
    registry: Registry, recipe: Recipe, stage: str | None, done: Mapping[str, SweepResult]
) -> AdapterVersion | None:
    if stage is None:
        return None
    if stage in done:
        return done[stage].version
    return _earlier(registry, recipe, stage)


def _earlier(registry: Registry, recipe: Recipe, stage: str) -> AdapterVersion:
    """The champion of a stage that was searched before, else its newest version."""
    line = recipe.line(stage)
    versions = registry.versions(line)
    if not versions:
        name = recipe.name if recipe.name in builtin_recipes() else "RECIPE"
        raise SweepError(
            f"stage '{stage}' comes first, and line {line} has no adapter yet; "
            f"run `alignery sweep run {name} --stage {stage}`"
        )
    return _champion(registry, line) or versions[-1]


def _champion(registry: Registry, line: str) -> AdapterVersion | None:
    return registry.aliases(line).get(f"{line}@{CHAMPION}")
