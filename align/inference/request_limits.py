"""Validation of a request before it is queued. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable

from align.errors import RequestError
from align.inference.types import GenerationRequest

MOST_COMPLETIONS = 128
MOST_STOPS = 16
MOST_LOGPROBS = 20


def check_request(
    request: GenerationRequest, *, vocabulary: int, slot_tokens: int, reward: bool
) -> None:
    """Raise RequestError, of one line, for the first parameter that is not valid.

    `vocabulary` is the number of token ids, `slot_tokens` the most tokens that a prompt and its
    completion may have together, `reward` whether the request's adapter has a reward head.
    """
    _check_prompt(request, vocabulary)
    _check_counts(request)
    _check_length(request, slot_tokens)
    _check_sampling(request)
    _check_adjustments(request, vocabulary)
    _check_stops(request, vocabulary)
    _check_reading(request, reward)


def _check_prompt(request: GenerationRequest, vocabulary: int) -> None:
    if not request.prompt_ids:
        raise RequestError("the prompt is empty: give at least one token")
    _check_ids("the prompt", request.prompt_ids, vocabulary)


def _check_counts(request: GenerationRequest) -> None:
    _check_range("n", request.n, 1, MOST_COMPLETIONS)
    if request.max_new_tokens < 0:
        raise RequestError(f"max_new_tokens is {request.max_new_tokens}: it must be 0 or more")
    if not 0 <= request.min_new_tokens <= request.max_new_tokens:
        raise RequestError(
            f"min_new_tokens is {request.min_new_tokens}: "
            f"it must be from 0 to max_new_tokens, {request.max_new_tokens}"
        )


def _check_length(request: GenerationRequest, slot_tokens: int) -> None:
    prompt, new = len(request.prompt_ids), request.max_new_tokens
    if prompt + new > slot_tokens:
        raise RequestError(
            f"{prompt} prompt tokens and max_new_tokens {new} are {prompt + new} tokens, "
            f"and a slot holds {slot_tokens}: shorten one of them, or raise slot_tokens"
        )


def _check_sampling(request: GenerationRequest) -> None:
    if not (math.isfinite(request.temperature) and request.temperature >= 0):
        raise RequestError(
            f"temperature is {request.temperature}: it must be 0 (greedy) or a positive number"
        )
    if not 0 < request.top_p <= 1:
        raise RequestError(f"top_p is {request.top_p}: it must be above 0 and at most 1")
    if request.top_k < 0:
        raise RequestError(f"top_k is {request.top_k}: it must be 0 (all tokens) or more")
    if request.seed is not None and not _is_seed(request.seed):
        raise RequestError(
            f"seed is {request.seed!r}: it must be an integer from -2^63 to 2^63 - 1, or left out"
        )


def _is_seed(seed: object) -> bool:
    return isinstance(seed, int) and -(2**63) <= seed < 2**63


def _check_adjustments(request: GenerationRequest, vocabulary: int) -> None:
    _check_range("presence_penalty", request.presence_penalty, -2, 2)
    _check_range("frequency_penalty", request.frequency_penalty, -2, 2)
    _check_ids("logit_bias", request.logit_bias, vocabulary)
    for token, bias in request.logit_bias.items():
        _check_range(f"logit_bias of token {token}", bias, -100, 100)


def _check_stops(request: GenerationRequest, vocabulary: int) -> None:
    if len(request.stop) > MOST_STOPS:
        raise RequestError(
            f"stop has {len(request.stop)} strings: it may have at most {MOST_STOPS}"
        )
    if "" in request.stop:
        raise RequestError("stop has an empty string: every text would end at once; leave it out")
    _check_ids("stop_ids", request.stop_ids, vocabulary)


def _check_reading(request: GenerationRequest, reward: bool) -> None:
    if request.logprobs is not None:
        _check_range("logprobs", request.logprobs, 0, MOST_LOGPROBS)
    if request.prompt_logprobs is not None:
        _check_range("prompt_logprobs", request.prompt_logprobs, 1, len(request.prompt_ids))
    if request.score and request.max_new_tokens > 0:
        raise RequestError(
            f"score reads a prompt and writes nothing, but max_new_tokens is "
            f"{request.max_new_tokens}: set it to 0"
        )
    if request.score and not reward:
        model = "the base" if request.adapter is None else f"adapter '{request.adapter}'"
        raise RequestError(f"{model} has no reward head: score needs a reward model's adapter")
    if request.max_new_tokens == 0 and request.prompt_logprobs is None and not request.score:
        raise RequestError(
            "max_new_tokens is 0, so nothing is asked for: set it to 1 or more, "
            "or ask for prompt_logprobs or score"
        )


def _check_range(name: str, value: float, least: float, most: float) -> None:
    # Written so that NaN, which compares false, is outside.
    if not least <= value <= most:
        raise RequestError(f"{name} is {value}: it must be from {least} to {most}")


def _check_ids(name: str, ids: Iterable[int], vocabulary: int) -> None:
    invalid = next((token for token in ids if not 0 <= token < vocabulary), None)
    if invalid is not None:
        raise RequestError(
            f"{name} has token id {invalid}: this model's ids are from 0 to {vocabulary - 1}"
        )
