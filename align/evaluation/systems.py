"""The base and adapters of a recipe on the engine: their answers, likelihoods and scores."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from align.adapters.folder import published_id
from align.adapters.manifest import MANIFEST, read_manifest
from align.base import load_base
from align.data import arithmetic
from align.data.user_rows import Row
from align.errors import ModelError
from align.evaluation.eval_cache import kept
from align.evaluation.statistics import divergence
from align.evaluation.ties import rounding
from align.inference.engine import BankEngine
from align.inference.options import CUDA_GRAPHS, beside_training
from align.inference.types import GenerationRequest, Messages
from align.memory.generation import longest_sequence
from align.recipe import Recipe
from align.rewards import Judge

T = TypeVar("T")

#: An answer: text, number of tokens with the end of turn, whether the token limit cut it.
Answer = tuple[str, int, bool]
#: Token ids of a conversation before the answer, and of the answer with its end of turn.
Cut = tuple[list[int], list[int]]

#: Adapters that were loaded into an engine for evaluation, and their maximum number: a trial's own,
#: its parent and its judge, and those of the stage before.
MOST_LOADED = 6
_LOADED: dict[str, BankEngine] = {}


@lru_cache(maxsize=1)
def shared_engine(base: str, *fp32_modules: str) -> BankEngine:
    """The engine that all evaluations in this process use; arguments as of `load_base`."""
    options = beside_training(os.environ.get(CUDA_GRAPHS))
    return BankEngine(load_base(base, *fp32_modules), options)


def forget_shared() -> None:
    """Let the shared engine and its adapters be collected; the next evaluation loads it anew."""
    _LOADED.clear()
    shared_engine.cache_clear()


def engine_of(recipe: Recipe) -> BankEngine:
    """The same engine, with room for the sequences of all stages of a recipe.

    ModelError if a card has no memory for that beside what trains there.
    """
    engine = shared_engine(recipe.base, *recipe.fp32_modules)
    tokens = longest_sequence(recipe)
    try:
        engine.reserve(tokens)
    except torch.OutOfMemoryError:
        raise ModelError(
            f"no memory on this GPU for an engine with sequences of {tokens} tokens beside what "
            "trains there: let fewer trials share it (--max-concurrent), or lower max_length or "
            "max_completion_length; `alignery recipe fit` tells what a GPU holds"
        ) from None
    return engine


class Systems:
    """Runs adapters, given by their folders; None is the base.

    Results of the adapters in `lasting` are cached on disk: they are published, so they do not
    change.
    """

    def __init__(self, recipe: Recipe, reward_model: Path | None, lasting: Collection[Path | None]):
        self._recipe, self._lasting = recipe, lasting
        self._base = load_base(recipe.base, *recipe.fp32_modules)
        self._engine = engine_of(recipe)
        self._reward_model = reward_model
        self.judge = None if reward_model is None else self._judge_of(reward_model)

    def _judge_of(self, folder: Path) -> Judge:
        name = self._load(folder)
        assert name is not None  # only the base has no name
        metrics = read_manifest(folder).metrics if (folder / MANIFEST).exists() else {}
        return Judge(
            self._engine, name, metrics.get("chosen_mean", 0.0), metrics.get("chosen_std", 1.0)
        )

    def _load(self, folder: Path | None) -> str | None:
        if folder is None:
            return None
        name = str(folder)
        self._engine.load(name, folder)
        _LOADED.pop(name, None)
        _LOADED[name] = self._engine
        while len(_LOADED) > MOST_LOADED:
            oldest = next(iter(_LOADED))
            _LOADED.pop(oldest).unload(oldest)
        return name

    def _ready(self, folder: Path | None) -> str | None:
        """Clear the engine's state of earlier requests and load the adapter; returns its name."""
        self._engine.start_anew()
        return self._load(folder)

    def _kept(self, adapter: Path | None, content: Any, compute: Callable[[], T]) -> T:
        """The result of `compute` for this content, cached on disk if the adapter is lasting."""
        if adapter not in self._lasting:
            return compute()
        identity = None if adapter is None else published_id(adapter)
        computed_with = [self._base.digest, identity, content, *self._recipe.fp32_modules]
        return kept(computed_with, compute)

    def tokens(self, text: str) -> list[int]:
        """A text's token ids."""
        return list(self._base.tokenizer.encode(text))

    @property
    def rounding(self) -> float:
        """The relative difference of two scores that rounding can make; see `ties.rounding`."""
        return rounding(str(self._base.model.dtype).removeprefix("torch."))

    def whole(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """Token ids of a whole conversation."""
        return self._engine.tokenize_chat(messages, generate=False)

    def cut(self, messages: Sequence[dict[str, str]]) -> Cut:
        """Token ids of a conversation before its last message, and of that message, the answer."""
        prompt = self._engine.tokenize_chat(messages[:-1])
        return prompt, self._engine.tokenize_chat(messages, generate=False)[len(prompt) :]

    def answers(self, adapter: Path | None, rows: Sequence[Row], shots: int = 0) -> list[Answer]:
        """Greedy answers, after `shots` worked examples in the conversation."""
        shot_messages = arithmetic.few_shot(self._recipe.seed, shots) if shots else []
        max_new_tokens = self._recipe.evaluation.max_new_tokens
        prompts = [self._engine.tokenize_chat([*shot_messages, *row["prompt"]]) for row in rows]

        def write() -> list[Answer]:
            name = self._ready(adapter)
            completions = self._engine.generate(
                [
                    GenerationRequest(prompt, name, max_new_tokens=max_new_tokens)
                    for prompt in prompts
                ]
            )
            return [
                (
                    completion.text,
                    len(completion.token_ids) + (completion.ended is not None),
                    completion.ended is None,
                )
                for completion in completions
            ]

        return self._kept(adapter, ["answers", prompts, max_new_tokens], write)

    def preferences(
        self, adapter: Path | None, prompts: Sequence[Messages], texts: Sequence[str]
    ) -> list[float]:
        """The judge's preference for each of an adapter's texts, in (0, 1)."""
        judge, folder = self.judge, self._reward_model
        assert judge is not None and folder is not None  # checked with the recipe
        content = ["judge", published_id(folder), judge.mean, judge.std, prompts, texts]

        def prefer() -> list[float]:
            self._engine.start_anew()
            return judge.preferences(prompts, texts)

        return self._kept(adapter, content, prefer)

    def log_probabilities(self, adapter: Path | None, cut: Sequence[Cut]) -> list[float]:
        """Summed log-probability, in nats, of each answer given the ids before it."""

        def read() -> list[float]:
            return self._engine.log_probabilities(cut, self._ready(adapter))

        return self._kept(adapter, ["log_probabilities", cut], read)

    def scores(self, adapter: Path, conversations: Sequence[Messages]) -> list[float]:
        """A reward model's scores, raw. AdapterError if it has no reward head."""
        return self._engine.score(conversations, str(self._ready(adapter)))

    def samples(self, adapter: Path | None, rows: Sequence[Row], count: int) -> list[str]:
        """`count` answers to each row's prompt, sampled at temperature 1 with own seeds."""
        name = self._ready(adapter)
        tokens, seed = self._recipe.evaluation.max_new_tokens, self._recipe.seed
        prompts = [self._engine.tokenize_chat(row["prompt"]) for row in rows]
        requests = [
            GenerationRequest(prompt, name, tokens, temperature=1.0, seed=seed + number * _APART)
            for number, prompt in enumerate(prompt for prompt in prompts for _ in range(count))
        ]
        return [completion.text for completion in self._engine.generate(requests)]

    def divergences(
        self, adapter: Path | None, parent: Path | None, rows: Sequence[Row]
    ) -> list[tuple[float, float]]:
        """KL(adapter || parent) by Monte Carlo, in nats (per token, per answer), at each prompt.

        An answer to each prompt is sampled at temperature 1 with its own seed. Its tokens'
        log-probabilities at sampling are compared with the parent's for the same tokens. In
        bfloat16 generation and scoring differ by rounding, so an adapter's divergence from itself
        is about 0.002 nats a token (SmolLM2-135M on a CPU): smaller values say nothing.
        `align.evaluation.statistics.divergence` has the estimators.
        """
        parent_name, name = self._load(parent), self._ready(adapter)
        max_new_tokens, seed = self._recipe.evaluation.max_new_tokens, self._recipe.seed
        prompts = [self._engine.tokenize_chat(row["prompt"]) for row in rows]
        completions = self._engine.generate(
            [
                GenerationRequest(
                    prompt,
                    name,
                    max_new_tokens,
                    temperature=1.0,
                    seed=seed + index * _APART,
                    logprobs=0,
                )
                for index, prompt in enumerate(prompts)
            ]
        )
        answers = [
            [*completion.token_ids, *([] if completion.ended is None else [completion.ended])]
            for completion in completions
        ]
        scored = self._engine.generate(
            [
                GenerationRequest([*prompt, *ids], parent_name, 0, prompt_logprobs=len(prompt))
                for prompt, ids in zip(prompts, answers, strict=True)
            ]
        )
        return [
            divergence(
                [token.logprob for token in completion.logprobs], parent_scores.prompt_logprobs
            )
            for completion, parent_scores in zip(completions, scored, strict=True)
        ]

    def forget(self, adapter: Path) -> None:
        """Unload an adapter that is no longer needed."""
        _LOADED.pop(str(adapter), None)
        self._engine.unload(str(adapter))


#: Distance of two prompts' seeds, so that recipes with neighbouring seeds share no seed.
_APART = 1_000_003
