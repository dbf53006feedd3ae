"""How far the stack that was trained is from the published adapter as it is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from align.adapters.tensors import LoraFactors
from align.data.user_rows import Row
from align.inference import Engine
from align.training.reference_logprobs import without_dropout

#: Rows that are compared.
ROWS = 8
_NAME = "stack-difference"

Cut = tuple[list[int], list[int]]


def stack_difference(
    trainer: Any, engine: Engine, published: LoraFactors, rows: Sequence[Row], max_length: int
) -> dict[str, float]:
    """`mean` and `max` absolute difference over up to ROWS rows; empty if no row is left.

    Policies: nats a token of the answer (of the prompt where rows have no answer, as GRPO's).
    Reward models: units of the score. The trainer's model runs as in training (parent beneath,
    mixed precision), without dropout; `engine` runs `published` on the untouched base.
    """
    longest = min(max_length, engine.context_length)
    engine.load(_NAME, published)
    try:
        with without_dropout(trainer.model), torch.no_grad():
            apart = (_scores if published.score is not None else _likelihoods)(
                trainer, engine, rows[:ROWS], longest
            )
    finally:
        engine.unload(_NAME)
    if not apart:
        return {}
    return {"mean": sum(apart) / len(apart), "max": max(apart)}


def _likelihoods(trainer: Any, engine: Engine, rows: Sequence[Row], longest: int) -> list[float]:
    cut = [_cut(engine, row, longest) for row in rows]
    cut = [(prompt, rest) for prompt, rest in cut if rest]
    served = engine.log_probabilities(cut, _NAME)
    return [
        abs(_likelihood(trainer, one) - value) / len(one[1])
        for one, value in zip(cut, served, strict=True)
    ]


def _likelihood(trainer: Any, cut: Cut) -> float:
    """Summed log-probability, by the head that TRL's losses use: no (length, vocabulary) logits."""
    prompt, rest = cut
    ids = torch.tensor([[*prompt, *rest]], device=trainer.accelerator.device)
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    with trainer.accelerator.autocast():
        done = trainer.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, fused_lm_head=True
        )
    return float(done.log_probs.sum())


def _scores(trainer: Any, engine: Engine, rows: Sequence[Row], longest: int) -> list[float]:
    talks = [[*row["prompt"], *row["chosen"]] for row in rows]
    talks = [one for one in talks if len(engine.tokenize_chat(one, generate=False)) <= longest]
    served = engine.score(talks, _NAME)
    apart = []
    for talk, value in zip(talks, served, strict=True):
        ids = engine.tokenize_chat(talk, generate=False)
        inputs = torch.tensor([ids], device=trainer.accelerator.device)
        with trainer.accelerator.autocast():
            logits = trainer.model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits
        apart.append(abs(float(logits) - value))
    return apart


def _cut(engine: Engine, row: Row, longest: int) -> Cut:
    """Ids of a row up to its answer, and the answer's; a prompt alone is cut after a token."""
    answer = row.get("completion") or row.get("chosen")
    if answer is None:
        ids = engine.tokenize_chat(row["prompt"])
        return ids[:1], ids[1:longest]
    ids = engine.tokenize_chat([*row["prompt"], *answer], generate=False)
    begin = len(engine.tokenize_chat(row["prompt"]))
    return ids[:begin], ids[begin:longest]
