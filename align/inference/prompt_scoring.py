"""Results computed from a prompt itself: log-probabilities and a reward score."""

from __future__ import annotations

from collections.abc import Callable

import torch

from align.inference.loaded_adapters import RewardHead
from align.inference.types import Completion, GenerationRequest

#: Positions whose logits are computed at a time. With a large vocabulary four take a megabyte.
_AT_ONCE = 256


class Read:
    """Processes the hidden states of a prompt chunk by chunk.

    `first` is the number of prompt tokens that may be reused from another sequence.
    """

    def __init__(
        self, prompt: tuple[int, ...], request: GenerationRequest, head: RewardHead | None
    ):
        self._prompt, self._from = prompt, request.prompt_logprobs
        self._head = head if request.score else None
        scored = len(prompt) - 1 if self._head is None else self._head.place(prompt)
        needed = len(prompt) - 1 if self._from is None else self._from - 1
        self.first = min(len(prompt) - 1, scored, needed)

    def take(
        self,
        start: int,
        hidden: torch.Tensor,
        completion: Completion,
        logits: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        """Process hidden states (count, hidden) of the prompt tokens from `start` on."""
        if self._head is not None:
            index = self._head.place(self._prompt) - start
            if 0 <= index < len(hidden):
                completion.score = float((hidden[index] @ self._head.weight[0]).float())
        if self._from is not None:
            # A token's probability comes from the state before it; the last state has no successor.
            first = max(self._from - 1 - start, 0)
            last = min(len(hidden), len(self._prompt) - 1 - start)
            for begin in range(first, last, _AT_ONCE):
                end = min(begin + _AT_ONCE, last)
                following = self._prompt[start + begin + 1 : start + end + 1]
                values = _log_probabilities(logits(hidden[begin:end]), following)
                completion.prompt_logprobs += values.tolist()


def _log_probabilities(logits: torch.Tensor, tokens: tuple[int, ...]) -> torch.Tensor:
    """Log-probability of each token under its row of logits (rows, vocabulary), in fp32."""
    wide = logits.float()
    chosen = wide.gather(-1, torch.tensor(tokens, device=wide.device)[:, None])[:, 0]
    return chosen - wide.logsumexp(-1)
