"""Chaos tests and time: the decisions, pytest's hooks around them, and the table of costs."""

import time
from pathlib import Path

import pytest
from ray._common.utils import get_default_ray_temp_dir

from tests.ci import budget, calibration, plugin

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
TABLE = """\
# Kinds, in order.
[results."test_b.py"]
test_lost = 100  # measured
"test_each[2]" = 20

[answers."test_a.py"]
test_each = 10
"""
TESTS = {
    "test_a": """
        import pytest
        pytestmark = pytest.mark.chaos
        @pytest.mark.parametrize("number", [1, 2])
        def test_each(number): pass
    """,
    "test_b": """
        import pytest
        def test_quick(): pass
        @pytest.mark.chaos
        @pytest.mark.parametrize("number", [2])
        def test_each(number): pass
        @pytest.mark.chaos
        def test_new(): pass
        @pytest.mark.chaos
        def test_lost(): pass
    """,
}
ORDER = ["test_lost", "test_each[2]", "test_each[1]", "test_each[2]", "test_new"]


def test_a_cost_is_of_the_test_or_of_all_its_parameters():
    costs = budget.read_costs(TABLE)
    assert budget.cost_of(costs, "test_b.py::test_each[2]") == budget.Cost("results", 1, 20)
    assert budget.cost_of(costs, "test_a.py::test_each[2]") == budget.Cost("answers", 2, 10)
    assert budget.unknown(costs, ["test_a.py::test_each[1]", "test_b.py::test_each[1]"]) == [
        "test_b.py::test_each[1]"
    ]
    new = budget.cost_of(costs, "test_a.py::test_new")
    assert new.place > 2 and new.seconds == budget.DEFAULT_SECONDS


def test_finished_tests_correct_the_calibration():
    pace = budget.Pace(calibrated=2.0)
    assert pace.factor == 2.0
    pace.finished(expected=budget.CALIBRATION_WEIGHT, measured=4 * budget.CALIBRATION_WEIGHT)
    assert pace.factor == 3.0
    pace.finished(expected=100 * budget.CALIBRATION_WEIGHT, measured=0.0)
    assert pace.factor == 1.0


def test_a_test_is_begun_if_there_is_more_than_enough_time():
    needed = 100 * 2 * budget.SAFETY
    assert budget.time_missing(100, 2.0, left=needed) is None
    reason = budget.time_missing(100, 2.0, left=needed - 10)
    assert reason == "no time left: it may need 250 s here, and there are 240"


def test_recording_changes_seconds_alone():
    measured = {
        "test_a.py::test_each[1]": 11.2, "test_a.py::test_each[2]": 7.0,
        "test_b.py::test_each[2]": 3.0, "test_b.py::test_new": 5.0,
    }  # fmt: skip
    wanted = TABLE.replace("test_each = 10", "test_each = 12").replace('2]" = 20', '2]" = 3')
    assert budget.with_costs(TABLE, measured) == wanted
    real = plugin.COSTS.read_text(encoding="utf-8")
    every = {test: cost.seconds + 1 for test, cost in budget.read_costs(real).items()}
    written = budget.read_costs(budget.with_costs(real, every))
    assert {test: cost.seconds for test, cost in written.items()} == every


@pytest.fixture
def chaos(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run small chaos tests with so many seconds left, on a machine twice as slow."""
    pytester.makepyfile(**TESTS)
    table = pytester.makefile(".toml", costs=TABLE)
    monkeypatch.setattr(calibration, "factor", lambda: 2.0)

    def run(*arguments: str, left: float | None = None) -> pytest.RunResult:
        monkeypatch.delenv(plugin.UNTIL, raising=False)
        if left is not None:
            monkeypatch.setenv(plugin.UNTIL, str(time.time() + left))
        return pytester.runpytest_inprocess(
            "-p", "tests.ci.plugin", "-p", "no:xdist", "-v", f"--chaos-costs={table}", *arguments
        )

    return run


def began(result: pytest.RunResult) -> list[str]:
    return [line.split()[0].split("::")[1] for line in result.outlines if line.endswith("%]")]


def test_without_a_deadline_everything_runs_in_order(chaos):
    result = chaos("-m", "chaos")
    assert result.ret == 0 and began(result) == ORDER
    result.assert_outcomes(passed=5, deselected=1)
    assert "reference" not in result.stdout.str()


def test_among_other_tests_chaos_tests_stay_where_they_are(chaos):
    assert began(chaos())[2:4] == ["test_quick", "test_each[2]"]


def test_what_does_not_fit_is_told_and_the_run_is_green(chaos):
    result = chaos("-m", "chaos", left=100)
    assert result.ret == 0 and began(result) == ORDER
    result.assert_outcomes(passed=3, skipped=2, deselected=1)
    result.stdout.fnmatch_lines(
        [
            "chaos: this machine takes 2.00 times the reference's seconds; * s are left",
            "*= not run: no time left =*",
            "test_b.py::test_lost (protects results): no time left: it may need 250 s here, *",
            "test_b.py::test_new (protects unknown): no time left: it may need * s here, *",
        ]
    )


def test_where_nothing_fits_the_run_is_green(chaos):
    result = chaos("-m", "chaos", left=-5)
    assert result.ret == 0
    result.assert_outcomes(skipped=5, deselected=1)
    result.stdout.fnmatch_lines(["*test_each* and there are 0"])


def test_a_deadline_leaves_other_tests_alone(chaos):
    chaos("-m", "not chaos", left=-5).assert_outcomes(passed=1, deselected=5)


def test_costs_are_recorded(chaos, pytester):
    result = chaos("-m", "chaos", "--record-costs")
    result.stdout.fnmatch_lines(["write a line for test_b.py::test_new: 0"])
    costs = budget.read_costs((pytester.path / "costs.toml").read_text(encoding="utf-8"))
    assert {one.seconds for one in costs.values()} == {1.0}


def test_every_chaos_test_that_was_collected_has_a_cost(request):
    """Among what pytest was asked for: `make test` asks for all."""
    costs = budget.read_costs(plugin.COSTS.read_text(encoding="utf-8"))
    missing = budget.unknown(costs, request.config.stash[plugin.COLLECTED])
    assert not missing, f"write what they protect and their seconds into {plugin.COSTS}: {missing}"


def test_every_cost_is_of_a_test():
    costs = budget.read_costs(plugin.COSTS.read_text(encoding="utf-8"))
    for test in costs:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_nothing_can_be_made_in_rays_default_folder():
    """`conftest.py` and `.ci/run` see to it, so that whatever needs it fails in any test."""
    with pytest.raises(NotADirectoryError):
        Path(get_default_ray_temp_dir(), "session").mkdir(parents=True)
