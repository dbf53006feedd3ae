"""Validation of a request before it is queued. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from align.errors import RequestError
from align.inference.sampling_params import PARAMETERS
from align.inference.types import GenerationRequest

MOST_STOPS = 16
_BOUNDED = [
    (parameter.name, parameter.default, parameter.metadata["bounds"])
    for parameter in PARAMETERS
    if "bounds" in parameter.metadata
]


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
    _check_bounds(request)
    _check_biases(request, vocabulary)
    _check_stops(request, vocabulary)
    _check_reading(request, reward)


def _check_prompt(request: GenerationRequest, vocabulary: int) -> None:
    if not request.prompt_ids:
        raise RequestError("the prompt is empty: give at least one token")
    _check_ids("the prompt", request.prompt_ids, vocabulary)


def _check_counts(request: GenerationRequest) -> None:
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


def _check_bounds(request: GenerationRequest) -> None:
    for name, default, bounds in _BOUNDED:
        value = getattr(request, name)
        if value != default and value not in bounds:
            raise RequestError(f"{name} is {value!r}: it must be {bounds.allowed}")


def _check_biases(request: GenerationRequest, vocabulary: int) -> None:
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
