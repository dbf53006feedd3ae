"""Whether an engine wrote what its adapters say: its tokens under the model in fp32.

Two right engines may part at a near-tie, since half precision rounds differently in each, and
from there on write different texts. So no text is compared with another. Each token is judged by
the logits that the fp32 model gives after the engine's own tokens before it.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from align.base import Base
from benchmarks.adapters import AdapterPool, decoder_linears
from benchmarks.workload import Workload

#: A greedy token is right if its logit is this close to the best, in standard deviations of the
#: position's logits. Another adapter's tokens are several away.
TIE = 0.2
#: A sampled token is right if it is among the likeliest ones that have this probability together.
NUCLEUS = 0.9
#: Least share of right tokens over a run: greedy, sampled (where 90 % is what chance gives).
GREEDY, SAMPLED = 0.9, 0.8
#: Least share in any one completion of a run.
WORST = 0.5
CHECKED = 8


@dataclass(frozen=True)
class Agreement:
    """Share of right tokens over the `checked` completions, and in the worst of them."""

    checked: int
    mean: float
    worst: float
    sampled: bool = False

    @property
    def good(self) -> bool:
        """Whether the engine did what it was asked."""
        return self.mean >= (SAMPLED if self.sampled else GREEDY) and self.worst >= WORST


class Reference:
    """transformers' own model in fp32; each row's adapter is added as a sum, unmerged."""

    def __init__(self, base: Base, pool: AdapterPool):
        self._pool = pool
        self._model: Any = copy.deepcopy(base.model).float()
        self._device, self._ends = base.model.device, _end_tokens(base)
        self._factors: dict[str, dict[str, tuple[torch.Tensor, torch.Tensor]]] = {}
        self._rows: list[str | None] = []
        for name, linear, _ in decoder_linears(self._model):
            linear.register_forward_hook(self._adding(name))

    @torch.inference_mode()
    def check(self, workload: Workload, completions: Sequence[Sequence[int]]) -> Agreement:
        """Judge one completion of each adapter and at least `CHECKED`, all if there are fewer."""
        adapters = [name for name in workload.adapters for _ in range(workload.completions)]
        prompts = [prompt for prompt in workload.prompts for _ in range(workload.completions)]
        picked = pick(adapters, random.Random(workload.seed))
        shares: list[float] = []
        for batch in alike([len(prompts[at]) for at in picked]):
            rows = [picked[at] for at in batch]
            self._rows = [adapters[at] for at in rows]
            logits, tokens = self._logits(
                [prompts[at] for at in rows], [completions[at] for at in rows]
            )
            if workload.temperature:
                logits[..., self._ends] = -torch.inf  # forced lengths: the end cannot come
                right = in_nucleus(logits / workload.temperature, tokens)
            else:
                right = near_best(logits, tokens)
            shares += right.float().mean(-1).tolist()
        mean, sampled = sum(shares) / len(shares), workload.temperature > 0
        return Agreement(len(picked), mean, min(shares), sampled)

    def _logits(
        self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (rows, new, vocabulary) that each completion's tokens (rows, new) came from."""
        width, new = max(len(prompt) for prompt in prompts), len(completions[0])
        ids, mask = [], []
        for prompt, completion in zip(prompts, completions, strict=True):
            padding = [0] * (width - len(prompt))
            ids.append([*padding, *prompt, *completion])
            mask.append([*padding, *[1] * (len(prompt) + new)])
        attended = torch.tensor(mask, device=self._device)
        tokens = torch.tensor(ids, device=self._device)
        logits = self._model(
            input_ids=tokens,
            attention_mask=attended,
            position_ids=(attended.cumsum(-1) - 1).clamp(min=0),
            logits_to_keep=new + 1,
            use_cache=False,
        ).logits[:, :-1]
        return logits, tokens[:, width:]

    def _adding(self, module: str) -> Any:
        def add(_: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
            changed = output.clone()
            for row, name in enumerate(self._rows):
                if name is not None:
                    a, b = self._of(name)[module]
                    changed[row] += (inputs[0][row] @ a.T) @ b.T
            return changed

        return add

    def _of(self, name: str) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        if name not in self._factors:
            modules = self._pool.factors(name).modules
            self._factors[name] = {
                module: (a.to(self._device), b.to(self._device))
                for module, (a, b) in modules.items()
            }
        return self._factors[name]


def near_best(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Which tokens (rows, new) are the best of their logits (rows, new, vocabulary), or nearly."""
    reached = logits.gather(-1, tokens[..., None])[..., 0]
    return logits.amax(-1) - reached <= TIE * logits.std(-1)


def in_nucleus(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Which tokens (rows, new) are among the likeliest that reach `NUCLEUS` together."""
    probabilities = logits.softmax(-1)
    own = probabilities.gather(-1, tokens[..., None])
    likelier = torch.where(probabilities > own, probabilities, 0.0).sum(-1)
    return likelier < NUCLEUS


def pick(adapters: Sequence[str | None], rng: random.Random) -> list[int]:
    """Places to check: one of each adapter, then others up to `CHECKED`, at random."""
    order = rng.sample(range(len(adapters)), len(adapters))
    first = list({adapters[at]: at for at in order}.values())
    others = [at for at in order if at not in set(first)]
    return first + others[: max(0, CHECKED - len(first))]


def alike(lengths: Sequence[int], most: int = 16) -> list[list[int]]:
    """Places in batches of similar length, so that padding stays under half of each."""
    batches: list[list[int]] = []
    for at in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        last = batches[-1] if batches else []
        if last and len(last) < most and lengths[at] <= 2 * lengths[last[0]]:
            last.append(at)
        else:
            batches.append([at])
    return batches


def _end_tokens(base: Base) -> list[int]:
    ends = base.model.generation_config.eos_token_id
    return list(ends) if isinstance(ends, list) else [ends]
