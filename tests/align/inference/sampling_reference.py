"""What a sequence samples, worked out one row at a time, and random requests for it."""

import math
from bisect import bisect_right
from collections import Counter
from itertools import accumulate
from random import Random

from hypothesis import strategies as st

from align.inference.types import GenerationRequest

VOCABULARY = 70  # no multiple of a block
ENDS = frozenset({3, 7})


class Reference:
    """What one sequence writes, worked out in Python floats.

    With `at_once`, a draw that falls outside the nucleus is followed by a draw from the nucleus.
    """

    def __init__(self, request, index, at_once):
        self.request, self.counts, self.written = request, Counter(), 0
        self.seen = set(request.prompt_ids)
        self.random = Random((request.seed + index) % 2**64)
        self.spare = Random((request.seed + index) % 2**64 + 2**64)
        self.at_once = at_once

    def pick(self, logits):
        request, logits = self.request, list(logits)
        for token in self.seen:
            factor = request.repetition_penalty
            logits[token] = logits[token] * factor if logits[token] < 0 else logits[token] / factor
        scores = [logit + request.logit_bias.get(at, 0) for at, logit in enumerate(logits)]
        for token, count in self.counts.items():
            scores[token] -= request.presence_penalty + request.frequency_penalty * count
        if self.written < request.min_new_tokens:
            for token in {*request.stop_ids, *(() if request.ignore_eos else ENDS)}:
                scores[token] = -math.inf
        token = self.draw(scores)
        self.counts[token] += 1
        self.seen.add(token)
        self.written += 1
        return token

    def draw(self, scores):
        request, order = self.request, sorted(range(len(scores)), key=lambda at: (-scores[at], at))
        if request.temperature == 0:
            return order[0]
        weights = [math.exp((one - max(scores)) / request.temperature) for one in scores]
        order = [at for at in order if weights[at] >= request.min_p * max(weights)]
        if 0 < request.top_k < len(scores):
            order = order[: request.top_k]
            return invert(nucleus(order, weights, request.top_p), weights, self.random.random())
        kept, among = set(nucleus(order, weights, request.top_p)), order
        spare = self.spare.random() if request.top_p < 1 else 0.0
        while True:  # refuse what lies outside, then look only at what lies ahead of it
            token = invert(sorted(among), weights, self.random.random())
            if token in kept:
                return token
            if self.at_once:
                return invert(sorted(kept), weights, spare)
            among = order[: order.index(token)]


def nucleus(order, weights, top_p):
    sums = list(accumulate(weights[at] for at in order))
    return [
        at for at, after in zip(order, sums, strict=True) if after - weights[at] < top_p * sums[-1]
    ]


def invert(ids, weights, share):
    sums = list(accumulate(weights[at] for at in ids))
    return ids[bisect_right(sums, share * sums[-1])]


# Odd numbers, so that no edge of a nucleus falls on a sum of equal weights.
requests = st.builds(
    GenerationRequest,
    prompt_ids=st.sampled_from([(1,), (1, 5, 9, 5, 60)]),
    temperature=st.sampled_from([0.0, 0.31, 1.0, 1.7]),
    top_p=st.sampled_from([0.137, 0.577, 0.871, 0.953, 1.0, 1.0]),
    top_k=st.sampled_from([0, 0, 1, 3, 20, VOCABULARY, 1000]),
    min_p=st.sampled_from([0.0, 0.0, 0.0731, 0.317, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 2.0, 0.5]),  # exact in binary
    presence_penalty=st.sampled_from([0.0, 0.0, 1.3, -0.7]),
    frequency_penalty=st.sampled_from([0.0, 0.0, 0.9]),
    logit_bias=st.dictionaries(
        st.integers(0, 69), st.sampled_from([-100.0, -1.5, 2.5]), max_size=3
    ),
    seed=st.integers(-(2**63), 2**63 - 1),
    stop_ids=st.sampled_from([(), (5,)]),
    min_new_tokens=st.sampled_from([0, 0, 2]),
    ignore_eos=st.booleans(),
    logprobs=st.sampled_from([None, 0, 4]),
)
