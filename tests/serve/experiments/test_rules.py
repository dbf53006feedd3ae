"""Which designs of an experiment are allowed."""

from __future__ import annotations

import pytest

from serve.errors import ExperimentError
from serve.experiments import VariantSpec
from serve.experiments.rules import check_design

ARMS = (
    VariantSpec(name="control", model="base"),
    VariantSpec(name="treatment", model="arithmetic/sft@champion"),
)


@pytest.mark.parametrize(("planned_users", "alpha"), [(2, 1e-6), (10**9, 0.5)])
def test_each_bound_of_a_design_is_allowed_itself(planned_users, alpha):
    check_design("a" * 64, ARMS, ARMS[1].name, planned_users, alpha)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"planned_users": 1}, "planned users"),
        ({"planned_users": 10**9 + 1}, "planned users"),
        ({"alpha": 0.51}, "alpha"),
        ({"alpha": 0.0000009}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"control": "nobody"}, "is no variant"),
        ({"variants": ARMS[:1]}, "at least one treatment"),
        ({"variants": (ARMS[0], ARMS[0])}, "one name"),
        (
            {"variants": (ARMS[0], ARMS[1].model_copy(update={"name": "b\n"}))},
            "cannot name a variant",
        ),
    ],
)
def test_a_wrong_design_says_what_is_allowed(experiments, change, text):
    design = {"variants": ARMS, "control": "control", "planned_users": 200, "alpha": 0.05}
    with pytest.raises(ExperimentError, match=text):
        experiments.start("trial", **(design | change))


@pytest.mark.parametrize(
    "name", ["base", "a/b", "a:1", "a@b", "Upper", "", "x" * 65, "a b", "-a", "a\n"]
)
def test_a_name_that_could_mean_something_else_is_refused(experiments, name):
    with pytest.raises(ExperimentError, match="cannot name an experiment"):
        experiments.start(name, ARMS, "control", 200)
