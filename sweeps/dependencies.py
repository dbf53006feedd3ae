"""What stages build on that is not searched with them, looked up before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    """The adapters that `stages` take from outside, by the name that the recipe has for them.

    A stage that is not among `stages` stands for its line's champion, else its newest version.
    SweepError if there is none, or if one cannot be what it is named as: of another method or
    base, or of so high a rank that what is stacked on it could not be served.
    """
    found: dict[str, AdapterVersion] = {}
    for stage, field, name in _outside(recipe, stages):
        if name not in found:
            found[name] = _find(registry, recipe, stage, field, name)
        check_adapter(recipe, stage, field, found[name])
    _check_weights(recipe, list(found.values()))
    for stage in stages:
        _check_rank(recipe, stage, stages, found)
    return found


def check_adapter(recipe: Recipe, stage: str, field: str, given: AdapterVersion) -> None:
    """SweepError unless `given` can be the `parent` or the `reward_model` of the stage."""
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
    where = f"stages.{stage}.{field}: {given.name}"
    if field == "reward_model" and given.method != "reward":
        raise SweepError(f"{where} is of method {given.method}; a reward model is needed")
    if field == "parent" and given.method == "reward":
        raise SweepError(f"{where} is a reward model, which cannot be a parent")


def check_same_weights(recipe: Recipe, first: AdapterVersion, second: AdapterVersion) -> None:
    """SweepError if the base had other weights when the second was trained than for the first."""
    digests = first.manifest.base_digest, second.manifest.base_digest
    if digests[0] != digests[1]:
        raise SweepError(
            f"{first.name} and {second.name} were trained on different weights that were both "
            f"called '{recipe.base}' (digests {digests[0][:12]} and {digests[1][:12]}); search "
            "the older one's stage again on the weights that are there now"
        )


def _outside(recipe: Recipe, stages: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(stage, field, name) of what is not searched along."""
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
    """The champion of a stage that was searched before, else its newest version."""
    line = recipe.line(stage)
    versions = registry.versions(line)
    if not versions:
        name = recipe.name if recipe.name in builtin_recipes() else "RECIPE"
        raise SweepError(
            f"stage '{stage}' comes first, and line {line} has no adapter yet; "
            f"run `alignery sweep run {name} --only {stage}`"
        )
    return registry.aliases(line).get(f"{line}@{CHAMPION}") or versions[-1]


def _check_weights(recipe: Recipe, found: Sequence[AdapterVersion]) -> None:
    for one in found[1:]:
        check_same_weights(recipe, found[0], one)


def _check_rank(
    recipe: Recipe, stage: str, stages: Sequence[str], found: dict[str, AdapterVersion]
) -> None:
    chain = []
    for one in recipe.chain(stage):
        if one not in stages:
            break
        chain.append(one)
    parent = found.get(recipe.stages[chain[-1]].parent or "")
    if parent is not None:
        check_rank(recipe, chain, parent)


def check_rank(recipe: Recipe, chain: Sequence[str], parent: AdapterVersion) -> None:
    """SweepError if `chain` (nearest first), stacked on `parent`, may be of too high a rank."""
    ranks = [(one, recipe.stages[one].largest_rank()) for one in reversed(chain)]
    if (rank := parent.rank + sum(own for _, own in ranks)) > MAX_RANK:
        parts = " + ".join(f"{one} {own}" for one, own in ((parent.name, parent.rank), *ranks))
        raise SweepError(
            f"stages.{chain[0]}.lora.r: the ranks of stacked stages add up, and {parts} makes "
            f"{rank}, where at most {MAX_RANK} are served; search smaller ranks"
        )
