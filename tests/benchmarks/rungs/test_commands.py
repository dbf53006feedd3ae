"""`alignery bench rungs`."""

import json

import pytest
from typer.testing import CliRunner

from benchmarks.commands import bench_app
from benchmarks.rungs.curves import read_curves

RUNNER = CliRunner()
PRUNERS = {"ours", "halving", "hyperband", "median", "wilcoxon"}


@pytest.fixture
def recordings(tmp_path):
    """Three configurations of SFT, recorded with two rungs."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number in range(3):
        right = [float(index < 4 * (number + 1)) for index in range(20)]
        loss = [2 - 0.3 * number + 0.01 * index for index in range(20)]
        seconds = {"accuracy": 4.0, "nll": 2.0}
        point = {"values": {"accuracy": right, "nll": loss}, "seconds": seconds}
        points = dict.fromkeys(("5", "15", "30"), point)
        content = {"params": {"learning_rate": number}, "points": points, "test": right}
        (folder / f"sft-{number}.json").write_text(json.dumps(content))
    return folder


def rungs(*arguments):
    return RUNNER.invoke(bench_app, ["rungs", *map(str, arguments)])


def test_json_has_what_every_pruner_keeps_and_spares(recordings):
    result = rungs("--recordings", recordings, "--orders", 2, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert set(found["kept_best"]) == set(found["steps_share"]) == PRUNERS
    assert found["kept_best"]["ours"] == 1.0
    assert all(0 < share <= 1 for share in found["steps_share"].values())
    assert {row["stage"] for row in found["replays"]} == {"sft"}
    assert found["stages"]["sft"]["best"] == [2]


def test_tables_name_the_pruners_and_the_target(recordings):
    result = rungs("--recordings", recordings, "--orders", 1)
    assert result.exit_code == 0, result.output
    assert all(name in result.stdout for name in PRUNERS)
    assert "sft: ours keeps the best in 100% at " in result.stdout
    assert "to reach: 95% at 45% at most" in result.stdout


def test_recordings_are_packed_as_curves_are_shipped(recordings, tmp_path):
    rungs("--recordings", recordings, "--orders", 1, "--pack", tmp_path / "curves")
    [stage] = read_curves(tmp_path / "curves")
    assert (stage.stage, len(stage.curves)) == ("sft", 3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--pack", "x"), "--pack takes curves of --record or --recordings; give one"),
        (("--only", "sft"), "--only says what --record trains; give --record, too"),
        (
            ("--record", "x", "--recordings", "y"),
            "--record makes recordings and --recordings reads",
        ),
        (("--record", "x", "--only", "sfd"), "--only sfd: allowed: sft, reward, dpo, grpo"),
    ],
)
def test_options_that_do_not_fit_are_told(arguments, told):
    assert told in str(rungs(*arguments).exception)
