"""`alignery ab …`, as typed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster.errors import AdapterNotFound
from serve.commands import ab_app
from serve.errors import ExperimentError, ExperimentNotFound

START = ["start", "trial", "--control", "base", "--treatment", "arithmetic/sft"]


@pytest.fixture
def ab(settings, adapters):
    """Run `alignery ab …` and give its stdout; failures are raised as they are."""

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(ab_app, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_the_life_of_an_experiment(ab, experiments):
    assert "treatment = arithmetic/sft:1" in ab(*START, "--planned-users", "100")
    for variant, good in (("control", 10), ("treatment", 45)):
        for user in range(50):
            request = f"{variant}-{user}"
            experiments.record_exposures([(request, "trial", request, variant, None)])
            experiments.record_feedback(request, float(user < good))
    text = ab("report", "trial")
    assert "treatment wins" in text and "alignery adapter promote arithmetic/sft:1" in text
    report: dict[str, Any] = json.loads(ab("report", "trial", "--json"))
    assert report["decision"] == "treatment wins"
    assert report["comparisons"][0]["e_value"] > 20
    assert "trial" in ab("stop", "trial", "--reason", "found")
    (listed,) = json.loads(ab("list", "--json"))
    assert (listed["name"], listed["state"], listed["reason"]) == ("trial", "stopped", "found")
    assert "stopped" in ab("list")


def test_a_report_without_users_prints_no_figures(ab):
    ab(*START)
    text = ab("report", "trial")
    assert "undecided" in text and "nan" not in text.lower()


def test_several_treatments(ab):
    started = json.loads(ab(*START, "--treatment", "arithmetic/sft:2", "--json"))
    names = [one["name"] for one in started["variants"]]
    assert names == ["control", "treatment-1", "treatment-2"]


def test_mistakes_say_what_to_do(ab):
    with pytest.raises(AdapterNotFound, match="did you mean arithmetic/sft"):
        ab("start", "trial", "--control", "base", "--treatment", "arithmetic/sfd")
    ab(*START)
    with pytest.raises(ExperimentError, match="exists already"):
        ab(*START)
    with pytest.raises(ExperimentNotFound, match="alignery ab list"):
        ab("report", "nothing")
