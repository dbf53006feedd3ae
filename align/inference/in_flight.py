"""Tokens that a card computes and the host has not read yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from align.inference.card_sampler import SamplingLaunch
from align.inference.sampling_state import Picked
from align.inference.transfers import upload


class InFlight:
    """The newest token of each of some sequences, on the device."""

    def __init__(self) -> None:
        self._launches: list[SamplingLaunch] = []
        self.sequences: list[int] = []

    def add(self, launch: SamplingLaunch, sequences: Sequence[int]) -> None:
        """Add a token of each of `sequences`, in the order of the launch's rows."""
        self._launches.append(launch)
        self.sequences += sequences

    def tokens(self, sequences: Sequence[int]) -> torch.Tensor:
        """The tokens (len(sequences),) of some of the sequences, without waiting for them."""
        parts = [launch.tokens for launch in self._launches]
        tokens = parts[0] if len(parts) == 1 else torch.cat(parts)
        if list(sequences) == self.sequences:
            return tokens
        row = {sequence: i for i, sequence in enumerate(self.sequences)}
        places = [row[sequence] for sequence in sequences]
        return tokens.index_select(0, upload(places, torch.int64, tokens.device))

    def read(self) -> Iterator[tuple[int, Picked]]:
        """Wait for the tokens: each sequence with its token."""
        picks = (picked for launch in self._launches for picked in launch.read())
        return zip(self.sequences, picks, strict=True)
