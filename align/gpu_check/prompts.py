"""Prompts of the built-in task for checks, and what checks ask of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from align.base import Base
from align.data.arithmetic import asked, problems
from align.inference import Completion, Engine, GenerationRequest

#: The stream of the built-in task's problems that checks take.
_SEED = 7


def questions(count: int) -> list[str]:
    """The texts of word problems, of different lengths."""
    return [asked(problem)[0]["content"] for problem in islice(problems(_SEED, "live"), count)]


def prompts(base: Base, count: int) -> list[list[int]]:
    """Token ids of user turns, with the assistant's turn open."""
    return [
        list(
            base.tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
            )
        )
        for text in questions(count)
    ]


def greedy(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    adapters: Sequence[str | None],
    tokens: int,
    together: bool = True,
) -> list[Completion]:
    """Greedy completions of exactly `tokens` tokens, with log-probabilities, in the prompts' order.

    All in one batch, or each alone; no state of earlier requests is reused.
    """
    requests = [
        GenerationRequest(prompt, adapter, tokens, logprobs=0, ignore_eos=True)
        for prompt, adapter in zip(prompts, adapters, strict=True)
    ]
    batches = [requests] if together else [[request] for request in requests]
    completions = []
    for batch in batches:
        engine.start_anew()
        completions += engine.generate(batch)
    return completions
