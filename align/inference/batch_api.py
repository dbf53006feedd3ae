"""Batch calls: requests are submitted together and stepped until all are complete."""

from __future__ import annotations

from collections.abc import Sequence

from align.inference.types import Completion, Engine, GenerationRequest, Messages, OnText


def complete(
    engine: Engine, requests: Sequence[GenerationRequest], on_text: OnText | None
) -> list[Completion]:
    """Completions in request order, `n` of each together. See `Engine.generate`."""
    sequence_ids: list[int] = []
    try:
        for request in requests:
            sequence_ids += engine.submit(request, streamed=on_text is not None)
        return _to_the_end(engine, sequence_ids, on_text)
    except BaseException:
        for sequence in sequence_ids:
            engine.cancel(sequence)
        raise


def _to_the_end(
    engine: Engine, sequence_ids: Sequence[int], on_text: OnText | None
) -> list[Completion]:
    index_of = {sequence: index for index, sequence in enumerate(sequence_ids)}
    completions: dict[int, Completion] = {}
    while len(completions) < len(sequence_ids):
        for update in engine.step():
            if (index := index_of.get(update.sequence)) is None:
                continue
            if update.done:
                completions[index] = update.completion
            if on_text is not None and (update.text or update.done):
                cancel = on_text(index, update.text) is False
                if cancel and not update.done:
                    engine.cancel(update.sequence)
    return [completions[index] for index in range(len(sequence_ids))]


def scores(engine: Engine, conversations: Sequence[Messages], adapter_id: str) -> list[float]:
    """See `Engine.score`."""
    requests = [
        GenerationRequest(engine.tokenize_chat(messages, generate=False), adapter_id, 0, score=True)
        for messages in conversations
    ]
    return [
        completion.score
        for completion in complete(engine, requests, None)
        if completion.score is not None
    ]


def summed_log_probabilities(
    engine: Engine,
    sequences: Sequence[tuple[Sequence[int], Sequence[int]]],
    adapter_id: str | None,
) -> list[float]:
    """See `Engine.log_probabilities`."""
    requests = [
        GenerationRequest([*prompt, *continuation], adapter_id, 0, prompt_logprobs=len(prompt))
        for prompt, continuation in sequences
    ]
    return [sum(completion.prompt_logprobs) for completion in complete(engine, requests, None)]
