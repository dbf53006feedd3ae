"""Whether a recipe's stages fit on a card, how many trials share it, and what would be better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter

from align.errors import RecipeError
from align.memory.machines import TRUSTED, Machine
from align.memory.peak import Peak, predict
from align.memory.shape import ModelShape
from align.memory.workload import PROMPT_TOKENS, LoraSize, Workload, lora_of, workload
from align.recipe import Recipe, StageConfig
from align.space.spaces import Value


@dataclass(frozen=True)
class TrialOnCard:
    """One trial of a stage on one card; `params` are those of its search space that it draws."""

    params: Mapping[str, Value]
    work: Workload
    peak: Peak
    machine: Machine

    @property
    def sharing(self) -> int:
        """How many such trials one card holds at a time; 0: it does not fit."""
        return self.machine.holds(self.peak.total)

    @property
    def fraction(self) -> float:
        """The share of a card that it may claim (Ray's `num_gpus`); 0 if it does not fit."""
        return int(100 / self.sharing) / 100 if self.sharing else 0.0


@dataclass(frozen=True)
class StageFit:
    """A stage: trial 0, the trial of its search space that needs most, and a better setting.

    `proposal` is the worst trial in other micro-batches, with the card to itself; None where the
    stage's own are the best that fit, or none do. `other` is the worst trial with checkpointing
    switched the other way.
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
    """What each of the named stages needs. `prompt_tokens` bounds GRPO's prompts."""
    return [_fit(_Case(recipe, stage, shape, machine, prompt_tokens)) for stage in stages]


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

    @property
    def config(self) -> StageConfig:
        return self.recipe.stages[self.stage]

    def peak(self, work: Workload) -> int:
        """Bytes of the whole process."""
        return predict(work, self.shape, self.machine).total

    def of(self, params: Mapping[str, Value], work: Workload) -> TrialOnCard:
        return TrialOnCard(params, work, predict(work, self.shape, self.machine), self.machine)

    def trial(self, params: Mapping[str, Value], *, largest: bool) -> TrialOnCard:
        """With these parameters, on parents of the largest ranks or of their trials 0."""
        work = workload(
            self.config.resolve(params),
            self.shape,
            beneath=_chain(self.recipe, self.config.parent, self.shape, largest),
            judge=_chain(self.recipe, self.config.reward_model, self.shape, largest),
            prompt_tokens=self.prompt_tokens,
        )
        return self.of(params, work)


def propose(work: Workload, fits: Callable[[Workload], bool]) -> Workload | None:
    """The largest micro-batch that fits, with the same effective batch; None if it is as it is.

    Checkpointing costs a second forward pass, small micro-batches only less full kernels: so it is
    dropped where the stage's own micro-batch, or the largest that fits with it, fits without.
    """
    plain, again = _largest(work, fits, False), _largest(work, fits, True)
    if again is not None and (plain is None or plain.rows < min(work.rows, again.rows)):
        plain = None
    best = plain or again
    same = best is None or (best.rows, best.checkpointing) == (work.rows, work.checkpointing)
    return None if same else best


def _largest(
    work: Workload, fits: Callable[[Workload], bool], checkpointing: bool
) -> Workload | None:
    sizes = (work.in_batches_of(rows, checkpointing) for rows in reversed(work.sizes))
    return next((one for one in sizes if fits(one)), None)


def _worst(case: _Case) -> Mapping[str, Value]:
    """The end or choice of each searched field that needs most memory, where it matters at all.

    With a field that is searched under a condition come the values that make it so.
    """

    def total(params: Mapping[str, Value]) -> int:
        return case.trial(params, largest=True).peak.total

    alone: list[Mapping[str, Value]] = [{}]
    for path, space in case.config.space().items():
        reached = [case.config.reaching(path, value) for value in space.ends()]
        sizes = [(total(params), params) for params in reached if params is not None]
        if len({size for size, _ in sizes}) > 1:
            alone.append(max(sizes, key=itemgetter(0))[1])
    together = {path: value for params in alone for path, value in params.items()}
    try:
        case.config.resolve(together)
    except RecipeError:  # a condition or a tie does not allow their ends together
        return max(alone, key=total)
    return max(together, *alone, key=total)


def _chain(
    recipe: Recipe, last: str | None, shape: ModelShape, largest: bool
) -> tuple[LoraSize, ...]:
    """The adapters of a stage and those that it is stacked on; of the largest ranks, or trial 0's.

    Of a registered adapter the recipe knows nothing: it is not counted.
    """
    if last not in recipe.stages:
        return ()
    assert last is not None
    found = []
    for name in recipe.chain(last):
        stage = recipe.stages[name]
        one = lora_of(stage.resolve(), shape)
        found.append(LoraSize(stage.largest_rank(), one.targets) if largest else one)
    return tuple(found)
