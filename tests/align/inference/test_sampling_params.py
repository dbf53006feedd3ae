"""The bounds of sampling parameters, and their values by name."""

import math

import pytest

from align.inference.sampling_params import PARAMETERS, Bounds, SamplingParams

BOUNDS = {
    parameter.name: parameter.metadata["bounds"]
    for parameter in PARAMETERS
    if "bounds" in parameter.metadata
}


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("temperature", [0, 1e-300, 1000.0], [-0.1, math.inf, math.nan]),
        ("top_p", [1e-60, 1], [0, 1.01, math.nan]),
        ("presence_penalty", [-2, 0.5, 2], [-2.1, 2.1, math.nan]),
        ("min_p", [0, 1], [-0.01, 1.01, math.nan]),
        ("repetition_penalty", [0.001, 1, 1000], [0, -1.0, 1001, math.inf, math.nan]),
        ("n", [1, 128], [0, 129]),
        ("seed", [-(2**63), 0, 2**63 - 1], [-(2**63) - 1, 2**63, 1.5]),
        ("top_k", [0, 10**9], [-1]),
        ("logprobs", [0, 20], [-1, 21]),
    ],
)
def test_the_ends_of_the_bounds(name, inside, outside):
    assert all(value in BOUNDS[name] for value in inside)
    assert not any(value in BOUNDS[name] for value in outside)


def test_bounds_without_limits_take_every_number_and_with_integer_no_fraction():
    assert math.nan in Bounds({}, "anything")
    assert 3 in Bounds({}, "an integer", integer=True)
    assert 3.0 not in Bounds({}, "an integer", integer=True)


def test_parameters_by_name_make_the_same_parameters_again():
    given = SamplingParams(temperature=0.5, stop=("x",), logit_bias={3: 1.0}, seed=7)
    assert SamplingParams(**given.sampling()) == given
    assert set(given.sampling()) == {parameter.name for parameter in PARAMETERS}
