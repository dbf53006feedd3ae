"""Held-out evaluation of published adapters on the untouched base, in serving dtype."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from align.adapter.manifest import MANIFEST, read_manifest
from align.base import load_base
from align.inference.engine import BankEngine
from align.inference.types import Completion, GenerationRequest
from align.recipe import Recipe
from align.recipe.rows import Row
from align.stages import arithmetic
from align.stages.arithmetic import Split
from align.stages.data import load_answers, load_split
from align.stages.measures import Evaluation, compare
from align.stages.rewards import Judge, Rewards, correctness


@lru_cache(maxsize=1)
def shared_engine(base: str) -> BankEngine:
    """The engine that everything in this process evaluates with."""
    return BankEngine(load_base(base))


class Evaluator:
    """Measures adapters of one recipe. Adapters are folders; None is the base."""

    def __init__(self, recipe: Recipe, reward_model: Path | None = None):
        self._recipe = recipe
        self._engine = shared_engine(recipe.base)
        self._judge = None if reward_model is None else self._judge_of(reward_model)

    def _judge_of(self, folder: Path) -> Judge:
        name = self._load(folder)
        assert name is not None  # only the base has none
        known = read_manifest(folder).metrics if (folder / MANIFEST).exists() else {}
        return Judge(
            self._engine, name, known.get("chosen_mean", 0.0), known.get("chosen_std", 1.0)
        )

    def _load(self, folder: Path | None) -> str | None:
        if folder is None:
            return None
        name = str(folder)
        self._engine.load(name, folder)
        return name

    def rewards(self, weights: dict[str, float]) -> Rewards:
        """These rewards with this evaluator's judge."""
        return Rewards(weights, self._judge)

    def answers(
        self, adapter: Path | None, rows: Sequence[Row], shots: int = 0
    ) -> list[Completion]:
        """Greedy answers, after `shots` worked examples in the conversation."""
        name, settings = self._load(adapter), self._recipe.evaluation
        before = arithmetic.few_shot(self._recipe.seed, shots) if shots else []
        requests = [
            GenerationRequest(
                self._engine.tokenize_chat([*before, *row["prompt"]]),
                adapter=name,
                max_new_tokens=settings.max_new_tokens,
            )
            for row in rows
        ]
        return self._engine.generate(requests)

    def answering(
        self,
        adapter: Path | None,
        split: Split,
        weights: dict[str, float],
        *,
        shots: int = 0,
        system: str = "",
        earlier: Evaluation | None = None,
    ) -> Evaluation:
        """Accuracy, reward and length of greedy answers, or of those that `earlier` holds."""
        started = time.perf_counter()
        rows = load_answers(self._recipe, split)
        if earlier is not None:
            texts, truncated = earlier.texts, earlier.truncated
        else:
            done = self.answers(adapter, rows, shots)
            texts = [one.text for one in done]
            truncated = [float(one.finish_reason == "length") for one in done]
        expected = [str(row.get("answer", "")) for row in rows]
        rewards = self.rewards(weights)
        parts = rewards.parts([row["prompt"] for row in rows], texts, expected)
        return Evaluation(
            system=system,
            split=split,
            texts=texts,
            correct=[correctness(text, one) for text, one in zip(texts, expected, strict=True)],
            reward=rewards.total(parts) if parts else [],
            parts=parts,
            lengths=[float(len(text)) for text in texts],
            truncated=truncated,
            seconds=time.perf_counter() - started,
        )

    def ranking(
        self, adapter: Path | None, stage: str, split: Split, *, by_score: bool
    ) -> Evaluation:
        """Pair accuracy on a stage's pairs: a reward model's by score, a policy's by likelihood.

        A policy ranks the answer first to which it gives the higher summed log-probability, the
        quantity that DPO's implicit reward is made of (Rafailov et al., arXiv 2305.18290). Beta
        does not enter.
        """
        started = time.perf_counter()
        rows, name = load_split(self._recipe, stage, split), self._load(adapter)
        both = [[*row["prompt"], *row[side]] for side in ("chosen", "rejected") for row in rows]
        if by_score and name is not None:
            values = self._engine.score(both, name)
        else:
            values = self._engine.log_probabilities([self._cut(one) for one in both], name)
        half = len(rows)
        return Evaluation(
            system="",
            split=split,
            pairs=[compare(a, b) for a, b in zip(values[:half], values[half:], strict=True)],
            pair_kinds=[str(row["kind"]) for row in rows if "kind" in row],
            chosen_scores=values[:half] if by_score else [],
            seconds=time.perf_counter() - started,
        )

    def likelihood(self, adapter: Path | None, stage: str, split: Split) -> Evaluation:
        """Negative log-likelihood of held-out completions, nats a token."""
        started = time.perf_counter()
        rows, name = load_split(self._recipe, stage, split), self._load(adapter)
        cut = [self._cut([*row["prompt"], *row["completion"]]) for row in rows]
        sums = self._engine.log_probabilities(cut, name)
        return Evaluation(
            system="",
            split=split,
            nll=[-value / max(1, len(rest)) for value, (_, rest) in zip(sums, cut, strict=True)],
            seconds=time.perf_counter() - started,
        )

    def winning(
        self, adapter: Path | None, parent: Path | None, stage: str, split: Split
    ) -> Evaluation:
        """How often the judge prefers this adapter's answer to its parent's."""
        started = time.perf_counter()
        rows = load_answers(self._recipe, split) or load_split(self._recipe, stage, split)
        ours = [one.text for one in self.answers(adapter, rows)]
        theirs = [one.text for one in self.answers(parent, rows)]
        judge, prompts = self.rewards({"reward_model": 1.0}), [row["prompt"] for row in rows]
        expected = [""] * len(rows)
        first = judge.part("reward_model", prompts, ours, expected)
        second = judge.part("reward_model", prompts, theirs, expected)
        return Evaluation(
            system="",
            split=split,
            wins=[compare(a, b) for a, b in zip(first, second, strict=True)],
            lengths=[float(len(text)) for text in ours],
            seconds=time.perf_counter() - started,
        )

    def _cut(self, messages: Sequence[dict[str, str]]) -> tuple[list[int], list[int]]:
        """Ids of a conversation up to the answer, and the answer's with its end of turn."""
        prompt = self._engine.tokenize_chat(messages[:-1])
        return prompt, self._engine.tokenize_chat(messages, generate=False)[len(prompt) :]

    def forget(self, adapter: Path) -> None:
        """Unload an adapter that will not be asked for again."""
        self._engine.unload(str(adapter))


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
    """Everything that can be measured of one system on a split.

    `earlier` is what was measured of the same system before there was a reward model: its
    answers are judged anew and not produced again.

    `stage` is the stage that made the adapter (None for the base): a reward model is measured on
    pairs alone; anything else answers, and ranks the pairs of the recipe's DPO (else reward)
    stage where there is one.
    """
    evaluator = Evaluator(recipe, reward_model)
    methods = {name: one.method for name, one in recipe.stages.items()}
    if stage is not None and methods[stage] == "reward":
        evaluation = evaluator.ranking(adapter, stage, split, by_score=True)
        evaluation.system = system
        return evaluation
    evaluation = evaluator.answering(
        adapter, split, recipe.rewards(), shots=shots, system=system, earlier=earlier
    )
    if earlier is not None:
        evaluation.pairs, evaluation.pair_kinds = earlier.pairs, earlier.pair_kinds
        return evaluation
    ranking = [name for method in ("dpo", "reward") for name in methods if methods[name] == method]
    if ranking and not shots:
        ranked = evaluator.ranking(adapter, ranking[0], split, by_score=False)
        evaluation.pairs, evaluation.pair_kinds = ranked.pairs, ranked.pair_kinds
        evaluation.seconds += ranked.seconds
    return evaluation
