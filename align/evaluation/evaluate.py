"""Held-out evaluation of published adapters on the untouched base, in serving dtype."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from align.data.problems import Split
from align.data.splits import load_answers, load_split
from align.data.user_rows import Row
from align.evaluation.checking import accuracies
from align.evaluation.examples import named
from align.evaluation.metrics import Evaluation, compare
from align.evaluation.preferences import imply_pairs, rank_pairs, rate_labels
from align.evaluation.systems import Systems, shared_engine
from align.evaluation.ties import log_odds
from align.methods import is_reward_model
from align.recipe import Recipe
from align.rewards import RewardFailure, Rewards, columns_of
from align.rewards.base import RewardConfig
from align.rewards.builtin.reward_model import RewardModel

__all__ = ["Evaluator", "evaluate_adapter", "shared_engine"]

#: Maximum number of prompts for the divergence: each of them needs a sampled answer.
DRAWN = 64


class Evaluator:
    """Measures adapters of a recipe. Adapters are folders; None is the base.

    Results of the adapters in `lasting`, which are published, are cached on disk; see `Systems`.
    `failed` counts the answers of other adapters for which a reward gave no number, and `failures`
    holds the first of these failures.
    """

    def __init__(
        self,
        recipe: Recipe,
        reward_model: Path | None = None,
        lasting: Collection[Path | None] = (),
    ):
        self._recipe, self._lasting = recipe, lasting
        self._systems = Systems(recipe, reward_model, lasting)
        self.failed, self.failures = 0, list[RewardFailure]()

    def rewards(self, configs: Mapping[str, RewardConfig]) -> Rewards:
        """These rewards with this evaluator's judge."""
        return Rewards(configs, self._systems.judge, self._systems.tokens)

    def prompts(self, split: Split, stage: str | None) -> list[Row]:
        """The recipe's rows with checkable answers; if there are none, the stage's rows."""
        rows = load_answers(self._recipe, split)
        return rows if rows or stage is None else load_split(self._recipe, stage, split)

    def answering(
        self,
        adapter: Path | None,
        split: Split,
        configs: Mapping[str, RewardConfig],
        *,
        stage: str | None = None,
        shots: int = 0,
        system: str = "",
        earlier: Evaluation | None = None,
    ) -> Evaluation:
        """Accuracy, reward and length of greedy answers, or of the answers in `earlier`.

        If no prompt of the recipe has an answer to check, the prompts of `stage` are used, and
        there is no accuracy. DataError if the rows lack a column that a reward needs.
        """
        started = time.perf_counter()
        rows = self.prompts(split, stage)
        if earlier is None:
            answers = self._systems.answers(adapter, rows, shots)
            texts = [text for text, _, _ in answers]
            tokens = [float(count) for _, count, _ in answers]
            truncated = [float(cut) for _, _, cut in answers]
        else:
            texts, tokens, truncated = earlier.texts, earlier.tokens, earlier.truncated
        rewards = self.rewards(configs if rows else {})
        parts = self._parts(adapter, rewards, rows, texts)
        return Evaluation(
            system=system,
            split=split,
            texts=texts,
            correct=accuracies(rows, texts),
            reward=rewards.total(parts) if parts else [],
            parts=parts,
            lengths=[float(len(text)) for text in texts],
            tokens=tokens,
            truncated=truncated,
            seconds=time.perf_counter() - started,
            **named("answers", rows),
        )

    def sampling(
        self,
        adapter: Path | None,
        split: Split,
        configs: Mapping[str, RewardConfig],
        stage: str,
        prompts: int,
        samples: int,
    ) -> Evaluation:
        """The mean reward of `samples` sampled answers to each of the first `prompts` prompts.

        Each answer has its own seed, the same for every adapter, so that adapters are compared
        prompt by prompt. An answer for which a reward failed is left out of its prompt's mean.
        """
        started = time.perf_counter()
        rows = self.prompts(split, stage)[:prompts]
        repeated = [row for row in rows for _ in range(samples)]
        texts = self._systems.samples(adapter, rows, samples)
        rewards = self.rewards(configs if rows else {})
        parts = self._parts(adapter, rewards, repeated, texts)
        totals = rewards.total(parts) if parts else [math.nan] * len(repeated)
        groups = [totals[at : at + samples] for at in range(0, len(totals), samples)]
        finite = [[value for value in group if math.isfinite(value)] for group in groups]
        return Evaluation(
            system="",
            split=split,
            sampled=[fmean(group) if group else math.nan for group in finite],
            seconds=time.perf_counter() - started,
            **named("sampled", rows),
        )

    def _parts(
        self, adapter: Path | None, rewards: Rewards, rows: Sequence[Row], texts: Sequence[str]
    ) -> dict[str, list[float]]:
        prompts, columns = [row["prompt"] for row in rows], columns_of(rows)
        parts = {
            name: rewards.multiplied(
                name, self._systems.preferences(adapter, prompts, texts), prompts, texts, columns
            )
            if isinstance(rewards.configs[name], RewardModel)
            else rewards.part(name, prompts, texts, columns)
            for name in rewards.weights
        }
        if adapter not in self._lasting:
            self.failed += rewards.failed
            self.failures += rewards.failures
        return parts

    def winning(
        self,
        answered: Evaluation,
        adapter: Path | None,
        parent: Path | None,
        stage: str,
        split: Split,
    ) -> Evaluation:
        """Whether the judge prefers this adapter's answer to its parent's, for each prompt.

        Equal answers tie, and so do scores that differ by rounding alone.
        """
        started = time.perf_counter()
        rows = self.prompts(split, stage)
        prompts = [row["prompt"] for row in rows]
        parent_texts = [text for text, _, _ in self._systems.answers(parent, rows)]
        preferences = answered.parts.get("reward_model") or self._systems.preferences(
            adapter, prompts, answered.texts
        )
        parent_preferences = self._systems.preferences(parent, prompts, parent_texts)
        return Evaluation(
            system="",
            split=split,
            wins=[
                0.5
                if text == parent_text
                else compare(log_odds(ours), log_odds(theirs), self._systems.rounding)
                for text, parent_text, ours, theirs in zip(
                    answered.texts, parent_texts, preferences, parent_preferences, strict=True
                )
            ],
            seconds=time.perf_counter() - started,
            **named("answers", rows),
        )

    def ranking(
        self, adapter: Path | None, stage: str, split: Split, *, by_score: bool
    ) -> Evaluation:
        """Pair accuracy on a stage's pairs: a reward model's by score, a policy's by likelihood.

        See `rank_pairs`.
        """
        rows = load_split(self._recipe, stage, split)
        return rank_pairs(self._systems, adapter, rows, split, by_score=by_score)

    def implying(
        self, adapter: Path | None, parent: Path | None, stage: str, split: Split
    ) -> Evaluation:
        """`ranking` of a policy, with `implicit_margins`; see `imply_pairs`."""
        rows = load_split(self._recipe, stage, split)
        return imply_pairs(self._systems, adapter, parent, rows, split)

    def likelihood(self, adapter: Path | None, stage: str, split: Split) -> Evaluation:
        """Negative log-likelihood of held-out completions, nats a token."""
        started = time.perf_counter()
        rows = load_split(self._recipe, stage, split)
        cuts = [self._systems.cut([*row["prompt"], *row["completion"]]) for row in rows]
        sums = self._systems.log_probabilities(adapter, cuts)
        return Evaluation(
            system="",
            split=split,
            nll=[
                -value / max(1, len(answer)) for value, (_, answer) in zip(sums, cuts, strict=True)
            ],
            seconds=time.perf_counter() - started,
            **named("completions", rows, "completion"),
        )

    def labelling(
        self, adapter: Path | None, parent: Path | None, stage: str, split: Split
    ) -> Evaluation:
        """Log-ratios of an adapter to its parent on labelled completions; see `rate_labels`."""
        rows = load_split(self._recipe, stage, split)
        return rate_labels(self._systems, adapter, parent, rows, split)

    def diverging(
        self, adapter: Path | None, parent: Path | None, stage: str, split: Split
    ) -> Evaluation:
        """KL divergence from the parent, on an adapter's answers to the first DRAWN prompts.

        See `Systems.divergences`.
        """
        started = time.perf_counter()
        rows = self.prompts(split, stage)
        divergences = self._systems.divergences(adapter, parent, rows[:DRAWN])
        divergences += [(math.nan, math.nan)] * (len(rows) - DRAWN)
        return Evaluation(
            system="",
            split=split,
            kl_tokens=[per_token for per_token, _ in divergences],
            kl_answers=[per_answer for _, per_answer in divergences],
            seconds=time.perf_counter() - started,
            **named("answers", rows),
        )

    def forget(self, adapter: Path) -> None:
        """Unload an adapter that is no longer needed."""
        self._systems.forget(adapter)


def evaluate_adapter(
    recipe: Recipe,
    adapter: Path | None,
    *,
    system: str,
    stage: str | None = None,
    split: Split = "test",
    reward_model: Path | None = None,
    shots: int = 0,
    earlier: Evaluation | None = None,
) -> Evaluation:
    """All measures of a system on a split.

    `earlier` is an evaluation of the same system from before there was a reward model: its
    answers are scored again, but not generated again.

    `stage` is the stage that trained the adapter (None for the base). A reward model is measured
    on pairs only. Any other system is measured on answers, on the pairs of the recipe's first
    policy (else reward model) that is trained on pairs, and on the completions of its first stage
    with the objective `nll`.
    """
    evaluator = Evaluator(recipe, reward_model)
    if stage is not None and is_reward_model(recipe.stages[stage].method):
        evaluation = evaluator.ranking(adapter, stage, split, by_score=True)
        evaluation.system = system
        return evaluation
    evaluation = evaluator.answering(
        adapter, split, recipe.rewards(), shots=shots, system=system, earlier=earlier
    )
    if earlier is not None:
        return replace(earlier, **{name: getattr(evaluation, name) for name in _JUDGED})
    if shots:
        return evaluation
    if (pairs := _pair_stage(recipe)) is not None:
        evaluation.with_(evaluator.ranking(adapter, pairs, split, by_score=False))
    if nll_stages := [name for name, config in recipe.stages.items() if config.objective == "nll"]:
        evaluation.with_(evaluator.likelihood(adapter, nll_stages[0], split))
    return evaluation


def _pair_stage(recipe: Recipe) -> str | None:
    """The first stage that trains a policy on pairs, else the first reward model's."""
    methods = {name: config.training_method for name, config in recipe.stages.items()}
    stages = [name for name, method in methods.items() if "chosen" in method.sides]
    return min(stages, key=lambda name: methods[name].trains_reward_model, default=None)


#: Fields of an earlier evaluation that a new judge can change.
_JUDGED = ("parts", "reward", "seconds")
