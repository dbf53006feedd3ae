"""A measure over stored rows, with its interval."""

import math

import pytest

from align.evaluation.estimates import Estimate, estimate
from align.evaluation.examples import Example
from align.evaluation.statistics import mean_bounds, wilson


def rows(items: str, **numbers: list[float]) -> list[Example]:
    names = list(numbers)
    return [
        Example(items, str(at), "test", "asked", numbers=dict(zip(names, values, strict=True)))
        for at, values in enumerate(zip(*numbers.values(), strict=True))
    ]


def test_a_share_has_wilsons_interval_also_where_nothing_is_right() -> None:
    found = estimate(rows("answers", accuracy=[0.0] * 16), "accuracy")
    assert (found.value, found.count) == (0.0, 16)
    assert (found.low, found.high) == wilson(0, 16) and found.high > 0.19


def test_a_mean_has_that_of_its_values_and_none_without_spread() -> None:
    values = [0.5, 1.5, 2.0, 4.0]
    found = estimate(rows("completions", nll=values), "nll")
    assert (found.low, found.high) == mean_bounds(values) and found.value == 2.0
    alike = estimate(rows("completions", nll=[0.5] * 16), "nll")
    assert alike.count == 16 and math.isnan(alike.low)


def test_an_area_is_over_the_labels_alone() -> None:
    labels = rows("labels", liked=[1.0, 1.0, 0.0, 0.0], log_ratio=[3.0, 2.0, 1.0, 0.0])
    found = estimate([*labels, *rows("answers", accuracy=[1.0])], "label_auc")
    assert (found.value, found.count, found.high) == (1.0, 4, 1.0)
    assert 0.3 < found.low < 0.8
    assert estimate(labels[:2], "label_auc").count == 2
    assert math.isnan(estimate(labels[:2], "label_auc").low)


@pytest.mark.parametrize("measure", ["nll", "label_auc"])
def test_what_no_row_has_is_not_measured(measure: str) -> None:
    found = estimate(rows("answers", accuracy=[1.0]), measure)
    assert isinstance(found, Estimate) and found.count == 0 and math.isnan(found.value)
