"""Picking the next token of each row, by that row's own parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from align.inference.types import GenerationRequest


class Sampler:
    """The parameters of a batch's rows and each row's own random stream."""

    def __init__(self, requests: Sequence[GenerationRequest], device: torch.device):
        self._requests = list(requests)
        self._generators: list[torch.Generator] = []
        for request in requests:
            generator = torch.Generator(device)
            if request.seed is None:
                generator.seed()
            else:
                generator.manual_seed(request.seed)
            self._generators.append(generator)

    def pick(self, logits: torch.Tensor, rows: Sequence[int]) -> list[int]:
        """The next token of each of `rows`; logits (len(rows), vocabulary)."""
        tokens: list[int] = logits.argmax(-1).tolist()
        for place, row in enumerate(rows):
            request = self._requests[row]
            if request.temperature > 0:
                probabilities = distribution(logits[place], request)
                drawn = torch.multinomial(probabilities, 1, generator=self._generators[row])
                tokens[place] = int(drawn)
        return tokens


def distribution(logits: torch.Tensor, request: GenerationRequest) -> torch.Tensor:
    """Probabilities (vocabulary,) after temperature, then top-k, then top-p.

    Top-p keeps the smallest set of likeliest tokens whose mass reaches `top_p`
    (Holtzman et al., arXiv 1904.09751); the likeliest is always kept.
    """
    scaled = logits.float() / request.temperature
    if request.top_k:
        least = scaled.topk(min(request.top_k, scaled.numel())).values[-1]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    probabilities = scaled.softmax(-1)
    if request.top_p < 1:
        ordered, index = probabilities.sort(descending=True)
        before = ordered.cumsum(-1) - ordered
        ordered[before >= request.top_p] = 0
        probabilities = torch.zeros_like(probabilities).scatter(-1, index, ordered)
        probabilities /= probabilities.sum()
    return probabilities
