"""The base and adapters of one recipe on the engine: their answers, likelihoods and scores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from align.adapters.manifest import MANIFEST, read_manifest
from align.base import load_base
from align.data import arithmetic
from align.data.user_rows import Row
from align.evaluation.eval_cache import kept
from align.evaluation.statistics import divergence
from align.inference.engine import BankEngine
from align.inference.options import BESIDE_TRAINING
from align.inference.types import GenerationRequest, Messages
from align.recipe import Recipe
from align.rewards import Judge
from align.training.parents import published_id

T = TypeVar("T")

#: What an adapter answered: text, tokens with the end of turn, whether the token limit cut it.
Answer = tuple[str, int, bool]
#: Ids of a conversation up to the answer, and the answer's with its end of turn.
Cut = tuple[list[int], list[int]]

#: Adapters that an engine knows because something was measured of them, and the most of them: a
#: trial's own, its parent and its judge, beside those of the stage before.
MOST_LOADED = 6
_LOADED: dict[str, BankEngine] = {}


@lru_cache(maxsize=1)
def shared_engine(base: str) -> BankEngine:
    """The engine that everything in this process evaluates with."""
    return BankEngine(load_base(base), BESIDE_TRAINING)


class Systems:
    """Adapters by their folders; None is the base.

    What is computed of those in `lasting` is kept on disk for whoever asks again: they are
    published, so they do not change.
    """

    def __init__(self, recipe: Recipe, reward_model: Path | None, lasting: Collection[Path | None]):
        self._recipe, self._lasting = recipe, lasting
        self._base = load_base(recipe.base)
        self._engine = shared_engine(recipe.base)
        self._reward_model = reward_model
        self.judge = None if reward_model is None else self._judge_of(reward_model)

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
        _LOADED.pop(name, None)
        _LOADED[name] = self._engine
        while len(_LOADED) > MOST_LOADED:
            longest = next(iter(_LOADED))
            _LOADED.pop(longest).unload(longest)
        return name

    def _ready(self, folder: Path | None) -> str | None:
        """The adapter's name on an engine that holds nothing of earlier requests."""
        self._engine.start_anew()
        return self._load(folder)

    def _kept(self, adapter: Path | None, content: Any, compute: Callable[[], T]) -> T:
        """What `compute` gives of an adapter for this content, from disk where it lasts."""
        if adapter not in self._lasting:
            return compute()
        identity = None if adapter is None else published_id(adapter)
        return kept([self._base.digest, identity, content], compute)

    def tokens(self, text: str) -> list[int]:
        """A text's ids."""
        return list(self._base.tokenizer.encode(text))

    def cut(self, messages: Sequence[dict[str, str]]) -> Cut:
        """A conversation that ends with an answer, before and from the answer on."""
        prompt = self._engine.tokenize_chat(messages[:-1])
        return prompt, self._engine.tokenize_chat(messages, generate=False)[len(prompt) :]

    def answers(self, adapter: Path | None, rows: Sequence[Row], shots: int = 0) -> list[Answer]:
        """Greedy answers, after `shots` worked examples in the conversation."""
        before = arithmetic.few_shot(self._recipe.seed, shots) if shots else []
        most = self._recipe.evaluation.max_new_tokens
        prompts = [self._engine.tokenize_chat([*before, *row["prompt"]]) for row in rows]

        def write() -> list[Answer]:
            name = self._ready(adapter)
            done = self._engine.generate(
                [GenerationRequest(prompt, name, max_new_tokens=most) for prompt in prompts]
            )
            return [
                (one.text, len(one.token_ids) + (one.ended is not None), one.ended is None)
                for one in done
            ]

        return self._kept(adapter, ["answers", prompts, most], write)

    def preferences(
        self, adapter: Path | None, prompts: Sequence[Messages], texts: Sequence[str]
    ) -> list[float]:
        """What the judge makes of an adapter's texts, each in (0, 1)."""
        judge, folder = self.judge, self._reward_model
        assert judge is not None and folder is not None  # the recipe's checks hold this
        content = ["judge", published_id(folder), judge.mean, judge.std, prompts, texts]

        def prefer() -> list[float]:
            self._engine.start_anew()
            return judge.preferences(prompts, texts)

        return self._kept(adapter, content, prefer)

    def log_probabilities(self, adapter: Path | None, cut: Sequence[Cut]) -> list[float]:
        """Summed log-probability, in nats, of each second part given the first."""

        def read() -> list[float]:
            return self._engine.log_probabilities(cut, self._ready(adapter))

        return self._kept(adapter, ["log_probabilities", cut], read)

    def scores(self, adapter: Path, conversations: Sequence[Messages]) -> list[float]:
        """A reward model's scores, raw. AdapterError if it has no reward head."""
        return self._engine.score(conversations, str(self._ready(adapter)))

    def divergences(
        self, adapter: Path | None, parent: Path | None, rows: Sequence[Row]
    ) -> list[tuple[float, float]]:
        """KL(adapter || parent) by Monte Carlo, in nats (a token, an answer), at each prompt.

        One answer to each is drawn at temperature 1 with a seed of its own; its tokens'
        log-probabilities, as they were drawn, are held against the parent's of the same tokens. In
        bfloat16 writing and reading differ by rounding, so that an adapter lies about 0.002 nats a
        token from itself (SmolLM2-135M on a CPU): less than that says nothing.
        `align.evaluation.statistics.divergence` has the estimators.
        """
        above, name = self._load(parent), self._ready(adapter)
        most, seed = self._recipe.evaluation.max_new_tokens, self._recipe.seed
        prompts = [self._engine.tokenize_chat(row["prompt"]) for row in rows]
        drawn = self._engine.generate(
            [
                GenerationRequest(
                    prompt, name, most, temperature=1.0, seed=seed + at * _APART, logprobs=0
                )
                for at, prompt in enumerate(prompts)
            ]
        )
        written = [[*one.token_ids, *([] if one.ended is None else [one.ended])] for one in drawn]
        read = self._engine.generate(
            [
                GenerationRequest([*prompt, *ids], above, 0, prompt_logprobs=len(prompt))
                for prompt, ids in zip(prompts, written, strict=True)
            ]
        )
        return [
            divergence([token.logprob for token in one.logprobs], other.prompt_logprobs)
            for one, other in zip(drawn, read, strict=True)
        ]

    def forget(self, adapter: Path) -> None:
        """Unload an adapter that will not be asked for again."""
        _LOADED.pop(str(adapter), None)
        self._engine.unload(str(adapter))


#: Between the seeds of two prompts, so that recipes of near seeds share no draw.
_APART = 1_000_003
