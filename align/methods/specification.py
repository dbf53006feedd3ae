"""What the rest of Alignery asks of a training method. Imports no torch and no TRL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from align.methods.trainers.trainer_inputs import TrainerInputs

Objective = Literal["accuracy", "reward", "nll", "pair_accuracy", "label_auc", "win_rate"]
#: Kinds of measurement; each is a pass over a set of held-out items.
Kind = Literal[
    "answers", "wins", "pairs", "implied", "completions", "labels", "divergence", "sampled"
]
Row = dict[str, Any]
#: (prompts, completions, the rows' columns and the trainer's extras by name) → a reward for each
#: completion, None where it failed: TRL leaves that part out of the completion's sum, and a
#: completion without any part out of its group.
RewardFunction = Callable[..., list[float | None]]
#: What a trainer does to a row: rows longer than `max_length` are cut or left out, rows that state
#: no preference are left out.
Fate = Literal["whole", "cut", "left out", "no preference"]
#: The fields of TRL's configs that decide the fate of a row, with the defaults of their absence.
TRUNCATION: Mapping[str, Any] = {
    "truncation_mode": "keep_start",
    "completion_only_loss": True,
    "packing": False,
    "packing_strategy": "bfd",
    "per_device_train_batch_size": 1,
}


class StageFields(Protocol):
    """The fields of a stage that methods read; `align.recipe.StageConfig` has them."""

    @property
    def rewards(self) -> Mapping[str, Any]: ...
    @property
    def sweep(self) -> Any: ...
    @property
    def save_steps(self) -> int | None: ...
    @property
    def num_train_epochs(self) -> Any: ...
    @property
    def per_device_train_batch_size(self) -> Any: ...
    @property
    def gradient_accumulation_steps(self) -> Any: ...
    @property
    def completions_per_step(self) -> int: ...
    @property
    def num_generations(self) -> Any: ...
    @property
    def max_completion_length(self) -> Any: ...
    @property
    def max_length(self) -> Any: ...
    @property
    def lora(self) -> Any: ...
    @property
    def model_extra(self) -> dict[str, Any] | None: ...

    def trl_value(self, name: str) -> Any:
        """The value of a field of TRL's config: the stage's, else TRL's default."""

    def trl(self) -> dict[str, Any]:
        """The arguments for TRL's config."""

    def fixed(self, name: str) -> Any:
        """The field's value; None if it is searched or computed."""

    def searched(self, *names: str) -> bool:
        """Whether any of the fields is searched or computed."""


@dataclass(frozen=True)
class Draft:
    """What `recipe new` knows as it drafts a stage.

    `methods` are those of all its stages, `answer_tokens` is a limit of the length of answers.
    `checkable` says whether rows have right answers to check completions against.
    """

    methods: tuple[str, ...]
    answer_tokens: int
    checkable: bool

    @property
    def judged(self) -> bool:
        """Whether there is a reward model."""
        return "reward" in self.methods


class Method:
    """A training method: a subclass in a module of this package, whose instance is `METHOD`.

    The class attributes describe the method; the functions hold what cannot be said by a value.
    A new method is a new module: see `align.methods.METHODS`.
    """

    #: The name in recipes, and the place among the methods wherever they are listed.
    name: ClassVar[str]
    order: ClassVar[int]
    #: Sentences for `recipe new` and the model card.
    title: ClassVar[str]
    description: ClassVar[str]
    #: The config of TRL's trainer: the file below `trl/`, and its class.
    config_file: ClassVar[str]
    config_class: ClassVar[str]
    #: Values of config fields that TRL lists only in its trainers, which check them too late.
    values: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    #: Config fields that a stage of this method cannot set, with the reasons.
    unsupported: ClassVar[Mapping[str, str]] = {}
    #: Objectives of a search. None depends directly on a searched field: DPO's own loss and margins
    #: scale with beta, so they are not included.
    objectives: ClassVar[tuple[Objective, ...]]
    #: What is measured of a trial at its last step, beside what its objective needs.
    measured: ClassVar[tuple[Kind, ...]]
    #: The metric by which the pruner `paired` compares trials at rungs, unless the recipe names
    #: another.
    rung_metric: ClassVar[str]
    #: The metric by which the final table compares a stage with its parent.
    verdict: ClassVar[str] = "accuracy"

    #: Names of the formats of `align.data.formats` that it trains on, and of those for which
    #: `recipe new` drafts a stage.
    formats: ClassVar[tuple[str, ...]]
    drafted_from: ClassVar[tuple[str, ...]] = ()
    #: The format of the rows that the built-in task gives it, and the number of their random
    #: stream: each method draws its own problems.
    task_format: ClassVar[str]
    task_stream: ClassVar[int]
    #: Columns of a row with the answers that are trained on.
    sides: ClassVar[tuple[str, ...]]
    #: Whether rows have a prompt and perhaps the right answer, so that evaluation can use them, and
    #: keep all their columns.
    answerable: ClassVar[bool] = False
    #: Whether every answer is imitated, so that rows with a false label are refused.
    imitates: ClassVar[bool] = False
    #: Whether TRL's trainer renders the tools of a row, so that others are refused.
    renders_tools: ClassVar[bool] = True
    #: Whether neighbouring rows must have different prompts, so that rows are mixed.
    mixes_rows: ClassVar[bool] = False
    #: Whether rows prefer an answer to another, by pairs or by labels, so that rows which state no
    #: preference are left out.
    preferential: ClassVar[bool] = False
    #: Why a row that is too long is left out.
    left_out_because: ClassVar[str] = ""

    #: Fields of TRL's config that its preparation of the rows reads, for the key of the cache.
    preparation_fields: ClassVar[tuple[str, ...]] = ()
    #: Whether TRL also trains on rows of which nothing is left, so that they are left out before.
    keeps_empty_rows: ClassVar[bool] = False

    #: Whether it trains a reward model: a classifier that scores answers and cannot be served.
    trains_reward_model: ClassVar[bool] = False
    #: Whether it generates completions while it trains, which rewards score.
    online: ClassVar[bool] = False
    #: Whether its loss compares with log-probabilities of the parent that are computed beforehand.
    precomputes_reference: ClassVar[bool] = False
    #: Sequences of a micro-batch for each of its rows: two where both sides are in the same pass.
    sequences: ClassVar[int] = 1
    #: Whether its trainer holds the logits of all tokens at once.
    full_logits: ClassVar[bool] = False
    #: The field that bounds the length of a training sequence.
    length_field: ClassVar[str] = "max_length"
    #: Fields of a stage that say nothing about this method, left out of the model card.
    unused_fields: ClassVar[frozenset[str]] = frozenset(
        {"num_generations", "max_completion_length", "temperature"}
    )

    #: For `recipe new`. Learning rate: low end, default and high end; the default is TRL's advice
    #: for LoRA.
    learning_rates: ClassVar[tuple[str, str, str]]
    #: Methods whose stage it starts from, the preferred first.
    draft_parents: ClassVar[tuple[str, ...]] = ()
    #: Whether the stage names the recipe's reward model.
    draft_judge: ClassVar[bool] = False

    def trainer(self, inputs: TrainerInputs) -> Any:
        """TRL's trainer for these inputs; TRL is imported here."""
        raise NotImplementedError

    def complaints(self, _stage: StageFields) -> Iterator[str]:
        """Messages about what is wrong between the stage's fields.

        Searched and computed fields are checked when trials are resolved.
        """
        yield from ()

    def rows(self, row: Row) -> Iterator[Row]:
        """The training rows that a conversational row of one of `formats` becomes."""
        yield row

    def fate(self, prompt: int, longest: int, limit: int, options: Mapping[str, Any]) -> Fate:
        """What the trainer does to a row of `longest` tokens, of which `prompt` are the prompt.

        `limit` is `max_length` in tokens, `options` the fields of TRUNCATION.
        """
        if prompt >= limit and not self.keeps_end(options):
            return "left out"
        return "cut" if longest > limit else "whole"

    def keeps_end(self, options: Mapping[str, Any]) -> bool:
        """Whether a row that is too long loses its beginning rather than its end."""
        return bool(options["truncation_mode"] == "keep_end")

    def least_rows(self, _stage: StageFields) -> int:
        """The smallest micro-batch of a resolved stage."""
        return 1

    def divided_rows(self, stage: StageFields) -> int:
        """Rows that every micro-batch of a resolved stage must divide."""
        return stage.completions_per_step

    def resized(self, _stage: StageFields, _per_device: int) -> dict[str, int]:
        """Fields that change with a micro-batch of `_per_device` rows, beside the usual two."""
        return {}

    def least_train_rows(self, stage: StageFields) -> tuple[int, str] | None:
        """The fewest rows to train on, and what they are; None if any number will do."""
        if not stage.trl_value("dataloader_drop_last"):
            return None
        return stage.per_device_train_batch_size, "per_device_train_batch_size"

    def sequences_of_epoch(self, rows: int, _stage: StageFields) -> int:
        """Rows of all micro-batches of an epoch over `rows` training rows."""
        return rows

    def draft_fields(self, _draft: Draft) -> str:
        """YAML lines of the method's own fields, indented by four."""
        return ""

    def draft_objective(self, draft: Draft) -> str:
        """The YAML value of the objective, with a comment; it may hold further lines."""
        raise NotImplementedError


def judged_objective(draft: Draft, otherwise: str) -> str:
    """The win rate where the draft has a reward model, else `otherwise`."""
    if not draft.judged:
        return otherwise
    before = "parent" if "sft" in draft.methods else "base"
    return (
        "win_rate  # against the parent, judged by the reward model\n"
        f"    constraints: [length <= 1.5 * {before}.length]  # answers that grow do not win"
    )


#: Lines that several drafts share.
ACCURACY = "accuracy  # of answers to held-out prompts"
PAIR_ACCURACY = "pair_accuracy  # how often the chosen answer of a held-out pair is likelier"
BETA = "    beta: {loguniform: [0.01, 0.5], default: 0.1}  # higher stays closer to the parent"
