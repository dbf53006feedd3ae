"""What the card's sampler asks of a device: one transfer each way, and no value in between."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from align.inference import transfers
from align.inference.card_sampler import CardSampler, choose_sampler
from align.inference.sampler import Sampler
from align.inference.types import GenerationRequest

VOCABULARY, ENDS, CPU = 500, frozenset({3, 7}), torch.device("cpu")
#: Operations that give values to the host, or that wait for them on a card.
READING = {"_local_scalar_dense", "item", "nonzero", "equal", "is_nonzero", "masked_select"}
KINDS = [
    {},
    {"temperature": 0.8},
    {"temperature": 0.8, "top_p": 0.9},
    {"temperature": 1.3, "top_k": 20, "top_p": 0.7},
    {"temperature": 1.0, "frequency_penalty": 0.5, "presence_penalty": 0.3},
    {"temperature": 1.0, "logit_bias": {4: 2.0, 9: -100.0}},
    {"temperature": 1.0, "repetition_penalty": 1.3},
    {"repetition_penalty": 0.7, "logprobs": 2},
    {"temperature": 0.9, "min_p": 0.07},
    {"temperature": 1.1, "min_p": 0.02, "top_k": 30, "frequency_penalty": 0.2},
    {"temperature": 0.7, "min_p": 0.1, "top_p": 0.8, "repetition_penalty": 1.1},
    {"min_new_tokens": 2, "stop_ids": (5,)},
    {"temperature": 1.0, "top_p": 0.5, "logprobs": 3},
    {"logprobs": 0},
]


class Operations(TorchDispatchMode):
    """Names of the operations that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


class Transfers:
    """Counts what goes each way; outside of `SamplingLaunch.read` no value may come back."""

    def __init__(self, monkeypatch):
        self.sent = self.read = 0
        upload, wait, tolist = transfers.upload, transfers.Download.wait, torch.Tensor.tolist
        self._reading = False

        def counted_upload(*args):
            self.sent += 1
            return upload(*args)

        def counted_wait(download):
            self.read += 1
            self._reading = True
            return wait(download)

        def checked_tolist(tensor):
            assert self._reading, "values are read in the middle of a step"
            return tolist(tensor)

        monkeypatch.setattr(transfers, "upload", counted_upload)
        monkeypatch.setattr(transfers.Download, "wait", counted_wait)
        monkeypatch.setattr(torch.Tensor, "tolist", checked_tolist)

    def step(self, sampler, logits, sequences):
        """Run a step; the counts are its own."""
        self.sent = self.read = 0
        self._reading = False
        return sampler.launch(logits, sequences).read()


def filled(kinds, copies=1, sampler=CardSampler, device=CPU):
    made = sampler(VOCABULARY, ENDS, device)
    for sequence, options in enumerate(kinds * copies):
        made.add(sequence, GenerationRequest((1,), seed=sequence, **options), 0)
    return made


def noise(rows, seed=0):
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.parametrize("kinds", [KINDS, *([kind] for kind in KINDS)])
def test_a_step_has_one_transfer_each_way_and_reads_nothing_between(monkeypatch, kinds):
    sampler, counted = filled(kinds), Transfers(monkeypatch)
    for step in range(3):
        with Operations() as operations:
            picked = counted.step(sampler, noise(len(kinds), step), range(len(kinds)))
        assert len(picked) == len(kinds)
        assert counted.read == 1
        assert counted.sent <= 1
        assert not READING & set(operations.names)


def test_every_kind_of_row_is_sent_in_the_same_transfer(monkeypatch):
    sampler, counted = filled(KINDS), Transfers(monkeypatch)
    counted.step(sampler, noise(len(KINDS)), range(len(KINDS)))
    assert counted.sent == 1


def test_the_number_of_operations_does_not_grow_with_the_rows():
    def count(copies):
        sampler, rows = filled(KINDS, copies), len(KINDS) * copies
        for step in range(2):  # the second has penalties
            with Operations() as operations:
                sampler.pick(noise(rows, step), range(rows))
        return len(operations.names)

    assert count(1) == count(5)


def test_greedy_rows_alone_cost_one_operation():
    sampler, logits = CardSampler(VOCABULARY, ENDS, CPU), noise(8)
    with Operations() as operations:
        sampler.launch(logits, range(8))
    assert operations.names == ["argmax"]


def test_no_value_is_needed_before_the_tokens_are_read():
    """Tensors on the meta device have no values: reading any raises."""
    meta = torch.device("meta")
    sampler = filled(KINDS, copies=3, device=meta)
    logits = torch.empty(3 * len(KINDS), VOCABULARY, dtype=torch.float16, device=meta)
    for _ in range(3):
        launched = sampler.launch(logits, range(len(logits)))
        assert launched.tokens.device == meta
        assert launched.tokens.shape == (len(logits),)
    with pytest.raises(NotImplementedError):
        launched.read()


def test_results_are_those_of_the_other_sampler():
    """To the last digit, log-probabilities too; draws from a nucleus have their own test."""
    kinds = [options for options in KINDS if "top_k" in options or "top_p" not in options]
    samplers = [filled(kinds, 3, kind) for kind in (Sampler, CardSampler)]
    for step in range(12):
        logits = noise(3 * len(kinds), step).round().half()
        expected, picked = (sampler.pick(logits, range(len(logits))) for sampler in samplers)
        assert picked == expected


def test_each_device_has_its_sampler():
    assert choose_sampler(CPU) is Sampler
    assert choose_sampler(torch.device("cuda", 0)) is CardSampler
