"""Completions of online methods, written by the engine with the weights that are being trained."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import cache, partial
from random import Random
from typing import Any

import torch
from peft.tuners.lora import LoraLayer

from align.adapters.tensors import LoraFactors
from align.errors import AdapterError, TrainingError
from align.inference.types import Completion, Engine, GenerationRequest, Messages
from align.out_of_memory import ran_out

_log = logging.getLogger(__name__)

#: The engine's name for the adapter in training; an engine has one trainer at a time.
POLICY = "grpo-policy"


class Rollouts:
    """TRL's `rollout_func` for a trainer.

    The trainer's LoRA, stacked on `parent`, is loaded into the engine from memory once for each
    optimizer step. Completions depend only on the training seed, the step and the weights, so a
    resumed run repeats an uninterrupted run.
    """

    def __init__(self, engine: Engine, parent: LoraFactors | None):
        self._engine, self._parent = engine, parent
        self._layers: list[_Layer] = []
        self._step: int | None = None
        self._randoms: dict[bool, Random] = {}
        self._at_once = sys.maxsize

    def __call__(self, prompts: list[Messages], trainer: Any) -> dict[str, Any]:
        """One completion for each prompt (messages), in order, as unpadded lists.

        `prompt_ids`, `completion_ids` (with the end of turn, if any) and `logprobs` of
        the completions' tokens under the distribution they were drawn from, or None if the
        temperature is not 1: the engine's log-probabilities are from before temperature.

        TrainingError if the weights are no longer finite or if there is no memory for a single
        completion, AdapterError if they do not fit the
        engine, RequestError if a prompt leaves no room for its completion.
        """
        prompt_ids = [list(self._engine.tokenize_chat(prompt)) for prompt in prompts]
        completions = self.complete(prompt_ids, trainer)
        values = [[token.logprob for token in completion.logprobs] for completion in completions]
        return {
            "prompt_ids": prompt_ids,
            "completion_ids": [_with_end(completion) for completion in completions],
            "logprobs": values if trainer.temperature == 1 else None,
        }

    def complete(self, prompts: list[list[int]], trainer: Any) -> list[Completion]:
        """One completion for each prompt (token ids), in order; errors as in a call."""
        if trainer.state.global_step != self._step:
            self._load(trainer)
        random = self._randoms[trainer.model.training]
        requests = [
            GenerationRequest(
                prompt,
                POLICY,
                trainer.max_completion_length,
                temperature=trainer.temperature,
                top_p=trainer.top_p,
                top_k=trainer.top_k,
                seed=random.getrandbits(63),
                logprobs=0 if trainer.temperature == 1 else None,
            )
            for prompt in prompts
        ]
        while True:
            try:
                return self._generate(requests)
            except RuntimeError as error:
                if not ran_out(error):
                    raise
            self._write_fewer(len(requests), trainer.state.global_step + 1)

    def _generate(self, requests: Sequence[GenerationRequest]) -> list[Completion]:
        starts = range(0, len(requests), self._at_once)
        parts = [requests[start : start + self._at_once] for start in starts]
        return [completion for part in parts for completion in self._engine.generate(part)]

    def _write_fewer(self, count: int, step: int) -> None:
        """Let at most half as many completions be written at a time from now on.

        The engine has dropped what was in progress. TrainingError if there was a single one.
        """
        at_once = min(self._at_once, count)
        if at_once == 1:
            raise TrainingError(engine_ran_out(step, "writes a single completion"))
        self._at_once = at_once // 2
        _log.warning(
            "step %d: out of memory while %d completions are written; going on with %d at a time",
            *(step, at_once, self._at_once),
        )

    def close(self) -> None:
        """Unload the policy from the engine."""
        self._engine.unload(POLICY)
        self._step = None

    def _load(self, trainer: Any) -> None:
        """Load the trainer's weights into the engine, and seed this step's random generators."""
        self._layers = self._layers or _layers(trainer.model)
        step, loaded = trainer.state.global_step, self._step is not None
        self._engine.unload(POLICY)
        self._engine.start_anew()  # a resumed run has no earlier requests
        factors = LoraFactors({layer.name: layer.factors() for layer in self._layers})
        if self._parent is not None:  # moved once: it was read into a CPU's memory
            self._parent = self._parent.to(trainer.accelerator.device)
        try:
            self._engine.load(POLICY, factors.stacked_on(self._parent))
        except AdapterError as error:
            if not loaded:
                raise
            # The shapes fitted before, so the values are the cause.
            raise TrainingError(
                f"step {step}: {error}: the learning rate is probably too high"
            ) from None
        self._step = step
        # Separate generators, so that an evaluation in between does not change the training.
        self._randoms = {
            training: Random(f"{trainer.args.seed} {step} {training}") for training in (True, False)
        }


def engine_ran_out(step: int, when: str) -> str:
    """The message if memory ran out while the engine works beside a trainer."""
    return (
        f"step {step}: out of memory while the engine {when}; smaller micro-batches do not help "
        "it: lower max_completion_length, or run fewer trials at once "
        "(--max-concurrent); `alignery recipe fit` tells what a GPU holds"
    )


class _Layer:
    """A linear layer's LoRA parameters, looked up once."""

    def __init__(self, name: str, layer: Any, adapter: str):
        self.name = name
        self._a, self._b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
        self._scaling: float = layer.scaling[adapter]

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Copies of the current A and B, with the scaling in B; training changes them in place."""
        return self._a.detach().float().clone(), self._b.detach().float() * self._scaling


def _layers(model: Any) -> list[_Layer]:
    return [
        _Layer(name, module, model.active_adapter)
        for name, module in model.get_base_model().named_modules()
        if isinstance(module, LoraLayer)
    ]


def _with_end(completion: Completion) -> list[int]:
    """A completion's tokens with its end of turn, which the policy learns to write."""
    return [*completion.token_ids, *([] if completion.ended is None else [completion.ended])]


def with_rollouts(trainer: type[Any], rollouts: Rollouts | None) -> Any:
    """A subclass of RLOOTrainer whose completions come from `rollouts`; `trainer` itself if None.

    TRL's RLOOTrainer has no `rollout_func`, so the subclass overrides the method that generates.
    """
    return trainer if rollouts is None else partial(_generating(trainer), rollouts)  # type: ignore[arg-type,misc]


@cache
def _generating(trainer: type[Any]) -> type[Any]:
    class Generating(trainer):  # type: ignore[misc]
        def __init__(self, rollouts: Rollouts, **arguments: Any):
            self._rollouts = rollouts
            super().__init__(**arguments)

        def _generate_single_turn(self, prompt_ids: list[list[int]], *_: Any) -> list[list[int]]:
            return [_with_end(answer) for answer in self._rollouts.complete(prompt_ids, self)]

    return Generating
