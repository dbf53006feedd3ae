"""Whether a recipe's stages fit on a card, how many trials share it, and better settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter

from align.errors import RecipeError
from align.memory.generation import longest_sequence
from align.memory.machines import TRUSTED, Machine
from align.memory.peak import Peak, predict
from align.memory.shape import ModelShape
from align.memory.workload import PROMPT_TOKENS, LoraSize, Workload, lora_of, workload
from align.recipe import Recipe, StageConfig
from align.space.spaces import Value


@dataclass(frozen=True)
class TrialOnCard:
    """A trial of a stage on a card; `params` are its values of the search space."""

    params: Mapping[str, Value]
    work: Workload
    peak: Peak
    machine: Machine

    @property
    def sharing(self) -> int:
        """Number of such trials that fit on a card at a time; 0 if it does not fit."""
        return self.machine.holds(self.peak.total)

    @property
    def fraction(self) -> float:
        """The share of a card that the trial may claim (Ray's `num_gpus`); 0 if it does not fit."""
        return int(100 / self.sharing) / 100 if self.sharing else 0.0


@dataclass(frozen=True)
class StageFit:
    """The fit of a stage: trial 0, the trial that needs most memory, and a better setting.

    `worst` is the trial of the search space that needs most memory. `proposal` is that trial with
    other micro-batches, alone on the card; None if the stage's own are the best that fit, or none
    fit. `other` is that trial with the opposite checkpointing setting.
    """

    stage: str
    first: TrialOnCard
    worst: TrialOnCard
    other: TrialOnCard
    proposal: TrialOnCard | None


def fit_stages(
    recipe: Recipe,
    stages: list[str],
    shape: ModelShape,
    machine: Machine,
    prompt_tokens: int = PROMPT_TOKENS,
) -> list[StageFit]:
    """The fit of each of the named stages. `prompt_tokens` is the longest prompt.

    ModelError if the base has no linear layer that the recipe's `fp32_modules` name.
    """
    shape.check_held(recipe.fp32_modules)
    generated = longest_sequence(recipe, prompt_tokens)
    return [
        _fit(_Case(recipe, stage, shape, machine, prompt_tokens, generated)) for stage in stages
    ]


def _fit(case: _Case) -> StageFit:
    worst = case.trial(_worst(case), largest=True)
    own, params = worst.work, worst.params
    switched = own.in_batches_of(own.rows, not own.checkpointing)
    room = TRUSTED * case.machine.memory
    better = propose(own, lambda work: case.peak(work) <= room)
    return StageFit(
        stage=case.stage,
        first=case.trial({}, largest=False),
        worst=worst,
        other=case.of(params, switched),
        proposal=None if better is None else case.of(params, better),
    )


@dataclass(frozen=True)
class _Case:
    """A stage of a recipe on a card."""

    recipe: Recipe
    stage: str
    shape: ModelShape
    machine: Machine
    prompt_tokens: int
    generated: int

    @property
    def config(self) -> StageConfig:
        return self.recipe.stages[self.stage]

    def peak(self, work: Workload) -> int:
        """Peak bytes of the whole process."""
        return predict(work, self.shape, self.machine).total

    def of(self, params: Mapping[str, Value], work: Workload) -> TrialOnCard:
        return TrialOnCard(params, work, predict(work, self.shape, self.machine), self.machine)

    def trial(self, params: Mapping[str, Value], *, largest: bool) -> TrialOnCard:
        """The trial with these parameters, with parents of the largest ranks or of trial 0."""
        work = workload(
            self.config.resolve(params),
            self.shape,
            beneath=_chain(self.recipe, self.config.parent, self.shape, largest),
            judge=_chain(self.recipe, self.config.reward_model, self.shape, largest),
            prompt_tokens=self.prompt_tokens,
            generated=self.generated,
            fp32_modules=self.recipe.fp32_modules,
        )
        return self.of(params, work)


def propose(work: Workload, fits: Callable[[Workload], bool]) -> Workload | None:
    """The largest micro-batch that fits, with the same effective batch; None if `work` has it.

    Checkpointing costs a second forward pass, small micro-batches only less efficient kernels. So
    checkpointing is dropped if the stage's own micro-batch, or the largest that fits with
    checkpointing, fits without it.
    """
    plain, checkpointed = _largest(work, fits, False), _largest(work, fits, True)
    if checkpointed is not None and (
        plain is None or plain.rows < min(work.rows, checkpointed.rows)
    ):
        plain = None
    best = plain or checkpointed
    same = best is None or (best.rows, best.checkpointing) == (work.rows, work.checkpointing)
    return None if same else best


def _largest(
    work: Workload, fits: Callable[[Workload], bool], checkpointing: bool
) -> Workload | None:
    sizes = (work.in_batches_of(rows, checkpointing) for rows in reversed(work.sizes))
    return next((candidate for candidate in sizes if fits(candidate)), None)


def _worst(case: _Case) -> Mapping[str, Value]:
    """The bound or choice of each searched field that needs most memory, if memory depends on it.

    For a field that is searched under a condition, the values that meet the condition are included.
    """

    def total(params: Mapping[str, Value]) -> int:
        return case.trial(params, largest=True).peak.total

    extremes: list[Mapping[str, Value]] = [{}]
    for path, space in case.config.space().items():
        candidates = [case.config.reaching(path, value) for value in space.ends()]
        sizes = [(total(params), params) for params in candidates if params is not None]
        if len({size for size, _ in sizes}) > 1:
            extremes.append(max(sizes, key=itemgetter(0))[1])
    combined = {path: value for params in extremes for path, value in params.items()}
    try:
        case.config.resolve(combined)
    except RecipeError:  # a condition or an expression excludes the combination
        return max(extremes, key=total)
    return max(combined, *extremes, key=total)


def _chain(
    recipe: Recipe, last: str | None, shape: ModelShape, largest: bool
) -> tuple[LoraSize, ...]:
    """The adapters of a stage and its parents, with their largest ranks or the ranks of trial 0.

    A registered adapter is not counted, since the recipe does not know its size.
    """
    if last not in recipe.stages:
        return ()
    assert last is not None
    sizes = []
    for name in recipe.chain(last):
        stage = recipe.stages[name]
        size = lora_of(stage.resolve(), shape)
        sizes.append(LoraSize(stage.largest_rank(), size.targets) if largest else size)
    return tuple(sizes)
