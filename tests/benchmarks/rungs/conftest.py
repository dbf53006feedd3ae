"""Learning curves that are made up, with few items."""

import pytest

from benchmarks.rungs.curves import Curve, Measurement, StageCurves

ITEMS = 24


@pytest.fixture
def made():
    """A stage of SFT from each configuration's nll and accuracy by step, and its test accuracy.

    Items differ by far more than configurations do, equally for all.
    """

    def build(nll, accuracy, test=None, steps=(5, 15, 30)):
        def point(loss, right):
            items = [loss + 0.5 * (item % 5) + 0.001 * (item % 3) for item in range(ITEMS)]
            answers = [float(item < right * ITEMS) for item in range(ITEMS)]
            return Measurement({"nll": items, "accuracy": answers}, {"nll": 2.0, "accuracy": 4.0})

        curves = []
        for index, (losses, shares) in enumerate(zip(nll, accuracy, strict=True)):
            points = map(point, losses, shares)
            unseen = shares[-1] if test is None else test[index]
            curves.append(
                Curve(
                    {"learning_rate": index},
                    dict(zip(steps, points, strict=True)),
                    [float(item < unseen * 40) for item in range(40)],
                )
            )
        return StageCurves("sft", curves)

    return build


@pytest.fixture
def ladder(made):
    """Eight configurations, each better than the one before by nll; accuracy sees nothing early."""
    return made(
        [[2.0 - 0.05 * index] * 3 for index in range(8)],
        [[0.0, 0.0, 0.1 * index] for index in range(8)],
    )
