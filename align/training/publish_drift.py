"""The difference between the trained stack and the published adapter as it is served."""

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
            differences = (_scores if published.score is not None else _likelihoods)(
                trainer, engine, rows[:ROWS], longest
            )
    finally:
        engine.unload(_NAME)
    if not differences:
        return {}
    return {"mean": sum(differences) / len(differences), "max": max(differences)}


def _likelihoods(trainer: Any, engine: Engine, rows: Sequence[Row], longest: int) -> list[float]:
    cuts = [_cut(engine, row, longest) for row in rows]
    cuts = [(prompt, answer) for prompt, answer in cuts if answer]
    served = engine.log_probabilities(cuts, _NAME)
    return [
        abs(_likelihood(trainer, prompt_and_answer) - value) / len(prompt_and_answer[1])
        for prompt_and_answer, value in zip(cuts, served, strict=True)
    ]


def _likelihood(trainer: Any, cut: Cut) -> float:
    """Summed log-probability, by the head that TRL's loss uses; few hold all logits."""
    prompt, answer = cut
    ids = torch.tensor([[*prompt, *answer]], device=trainer.accelerator.device)
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    with trainer.accelerator.autocast():
        output = trainer.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, fused_lm_head=True
        )
    fused: torch.Tensor | None = getattr(output, "log_probs", None)
    if fused is not None:
        return float(fused.sum())
    logits = output.logits[0, len(prompt) - 1 : -1].float()  # a trainer whose head is not fused
    return float(logits.log_softmax(-1).gather(-1, ids[0, len(prompt) :, None]).sum())


def _scores(trainer: Any, engine: Engine, rows: Sequence[Row], longest: int) -> list[float]:
    conversations = [[*row["prompt"], *row["chosen"]] for row in rows]
    conversations = [
        conversation
        for conversation in conversations
        if len(engine.tokenize_chat(conversation, generate=False)) <= longest
    ]
    served = engine.score(conversations, _NAME)
    differences = []
    for conversation, value in zip(conversations, served, strict=True):
        ids = engine.tokenize_chat(conversation, generate=False)
        inputs = torch.tensor([ids], device=trainer.accelerator.device)
        with trainer.accelerator.autocast():
            logits = trainer.model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits
        differences.append(abs(float(logits) - value))
    return differences


def _cut(engine: Engine, row: Row, longest: int) -> Cut:
    """Ids of a row's prompt, and of its answer; a prompt alone is cut after its first token."""
    answer = row.get("completion") or row.get("chosen")
    if answer is None:
        ids = engine.tokenize_chat(row["prompt"])
        return ids[:1], ids[1:longest]
    ids = engine.tokenize_chat([*row["prompt"], *answer], generate=False)
    prompt_length = len(engine.tokenize_chat(row["prompt"]))
    return ids[:prompt_length], ids[prompt_length:longest]
