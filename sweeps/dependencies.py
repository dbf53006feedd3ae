"""Resolves the adapters that stages build on and that are not searched in the same run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from align.methods import is_reward_model
from align.recipe import Recipe, builtin_recipes
from align.recipe.lora import MAX_RANK
from align.recipe.model import is_reference
from cluster.errors import AdapterNotFound
from cluster.names import CHAMPION
from cluster.registry import AdapterVersion, Registry
from sweeps.errors import SweepError


def find_needs(
    registry: Registry, recipe: Recipe, stages: Sequence[str]
) -> dict[str, AdapterVersion]:
    """The adapters that `stages` need but do not train, by the name that the recipe has for them.

    A stage that is not among `stages` stands for its line's champion, else its newest version.
    SweepError if an adapter is missing, has another method or base than needed, or has so high a
    rank that an adapter stacked on it could not be served.
    """
    adapters: dict[str, AdapterVersion] = {}
    for stage, field, name in _outside(recipe, stages):
        if name not in adapters:
            adapters[name] = _find(registry, recipe, stage, field, name)
        check_adapter(recipe, stage, field, adapters[name])
    _check_weights(recipe, list(adapters.values()))
    for stage in stages:
        _check_rank(recipe, stage, stages, adapters)
    return adapters


def check_adapter(recipe: Recipe, stage: str, field: str, given: AdapterVersion) -> None:
    """SweepError unless `given` can be the stage's `field`: `parent` or `reward_model`."""
    name = getattr(recipe.stages[stage], field)
    if given.base != recipe.base:
        remedy = (
            "name an adapter of this base"
            if is_reference(name)
            else f"search stage '{name}' on this base first"
        )
        raise SweepError(
            f"{given.name} was trained on base '{given.base}', but recipe '{recipe.name}' "
            f"is on '{recipe.base}'; {remedy}"
        )
    prefix = f"stages.{stage}.{field}: {given.name}"
    if field == "reward_model" and not is_reward_model(given.method):
        raise SweepError(f"{prefix} is of method {given.method}; a reward model is needed")
    if field == "parent" and is_reward_model(given.method):
        raise SweepError(f"{prefix} is a reward model, which cannot be a parent")


def check_same_weights(recipe: Recipe, first: AdapterVersion, second: AdapterVersion) -> None:
    """SweepError if the two adapters were trained on bases with different weights."""
    digests = first.manifest.base_digest, second.manifest.base_digest
    if digests[0] != digests[1]:
        raise SweepError(
            f"{first.name} and {second.name} were trained on different weights that were both "
            f"called '{recipe.base}' (digests {digests[0][:12]} and {digests[1][:12]}); search "
            "the older one's stage again on the weights that are there now"
        )


def _outside(recipe: Recipe, stages: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(stage, field, name) of each dependency that is not among `stages`."""
    for stage in stages:
        for field in ("parent", "reward_model"):
            name = getattr(recipe.stages[stage], field)
            if name is not None and name not in stages:
                yield stage, field, name


def _find(registry: Registry, recipe: Recipe, stage: str, field: str, name: str) -> AdapterVersion:
    if not is_reference(name):
        return _earlier(registry, recipe, name)
    try:
        return registry.resolve(name)
    except AdapterNotFound as error:
        raise SweepError(f"stages.{stage}.{field}: {error}") from None


def _earlier(registry: Registry, recipe: Recipe, stage: str) -> AdapterVersion:
    """The champion of an earlier search of the stage, else its newest version."""
    line = recipe.line(stage)
    versions = registry.versions(line)
    if not versions:
        name = recipe.name if recipe.name in builtin_recipes() else "RECIPE"
        raise SweepError(
            f"stage '{stage}' comes first, and line {line} has no adapter yet; "
            f"run `alignery sweep run {name} --only {stage}`"
        )
    return registry.aliases(line).get(f"{line}@{CHAMPION}") or versions[-1]


def _check_weights(recipe: Recipe, adapters: Sequence[AdapterVersion]) -> None:
    for adapter in adapters[1:]:
        check_same_weights(recipe, adapters[0], adapter)


def _check_rank(
    recipe: Recipe, stage: str, stages: Sequence[str], adapters: dict[str, AdapterVersion]
) -> None:
    chain = []
    for ancestor in recipe.chain(stage):
        if ancestor not in stages:
            break
        chain.append(ancestor)
    parent = adapters.get(recipe.stages[chain[-1]].parent or "")
    if parent is not None:
        check_rank(recipe, chain, parent)


def check_rank(recipe: Recipe, chain: Sequence[str], parent: AdapterVersion) -> None:
    """SweepError if `chain` (child first), stacked on `parent`, may exceed the largest rank."""
    ranks = [(stage, recipe.stages[stage].largest_rank()) for stage in reversed(chain)]
    if (rank := parent.rank + sum(stage_rank for _, stage_rank in ranks)) > MAX_RANK:
        parts = " + ".join(
            f"{name} {own_rank}" for name, own_rank in ((parent.name, parent.rank), *ranks)
        )
        raise SweepError(
            f"stages.{chain[0]}.lora.r: the ranks of stacked stages add up, and {parts} makes "
            f"{rank}, where at most {MAX_RANK} are served; search smaller ranks"
        )
