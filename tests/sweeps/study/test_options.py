"""Options for a class are checked by the names and types of its arguments."""

import pytest

from sweeps.errors import SweepError
from sweeps.study.options import build, check_options, check_packages, near, nested, signature


class Sampler:
    def __init__(
        self,
        population: int = 50,
        rate: "float | None" = None,
        crossover: "BaseCrossover | None" = None,  # noqa: F821
        gamma: "Callable[[int], int] | None" = None,  # noqa: F821
        seed: "int | None" = None,
        constant: bool = False,
    ):
        if population < 2:
            raise ValueError("population is\ntoo small")


def check(**options):
    check_options("sampler_options", "mine", Sampler, options, {"seed": "set sweep.seed instead"})


def test_what_the_class_takes_may_be_given():
    check()
    check(population=7, rate=1, crossover="uniform", constant=True)
    check(rate=None, crossover={"name": "uniform"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 3}, r"^sampler_options\.seed: set sweep\.seed instead$"),
        (
            {"populaton": 3},
            r"mine has no such option; did you mean population\?; allowed: population, rate, "
            r"crossover, constant$",
        ),
        ({"gamma": 3}, r"a recipe cannot hold what mine takes there, Callable"),
        ({"population": 0.5}, r"population: expected int; got 0\.5"),
        ({"population": True}, r"population: expected int; got True"),
        ({"rate": "high"}, r"rate: expected float; got 'high'"),
        ({"crossover": 3}, r"crossover: expected the name of a crossover; got 3"),
        ({"constant": 1}, r"constant: expected bool; got 1"),
    ],
)
def test_what_it_does_not_take_is_told_by_option(options, message):
    with pytest.raises(SweepError, match=message):
        check(**options)


def test_what_the_class_refuses_is_one_line():
    assert isinstance(build("sampler_options", Sampler, population=2), Sampler)
    with pytest.raises(SweepError, match=r"^sampler_options: population is too small$"):
        build("sampler_options", Sampler, population=1)


def test_packages_that_are_missing_are_named():
    check_packages("sampler", "mine", ["json"])
    with pytest.raises(
        SweepError, match="mine needs no_such_a and no_such_b: pip install no_such_a"
    ):
        check_packages("sampler", "mine", ["json", "no_such_a", "no_such_b"])


def test_a_class_without_arguments_has_none():
    assert signature(object) == {}
    assert signature(Sampler)["population"] == "int"
    assert (nested("BasePruner | None"), nested("Callable[[], BasePruner]")) == ("BasePruner", "")
    assert near("xyz", ["median"]) == ""
