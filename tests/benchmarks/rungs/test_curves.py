"""Files of learning curves."""

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.rungs.curves import (
    StageCurves,
    read_curves,
    write_curves,
)


def test_curves_are_read_as_they_were_written(tmp_path, ladder):
    [file] = write_curves([ladder], tmp_path)
    assert file.name == "sft.json"
    assert read_curves(tmp_path) == [ladder]


def test_a_folder_without_curves_is_named_with_what_is_expected(tmp_path):
    with pytest.raises(BenchmarkError, match=r"no learning curves there; expected sft.json, "):
        read_curves(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"configurations": [{"params": {}}]}'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "dpo.json").write_text(content)
    with pytest.raises(BenchmarkError, match=r"dpo.json: not a file of learning curves"):
        read_curves(tmp_path)


def test_configurations_with_other_items_cannot_be_compared(made, ladder):
    other = made([[1.0] * 3] * 2, [[0.5] * 3] * 2, steps=(5, 10, 30))
    with pytest.raises(BenchmarkError, match="sft: the configurations differ in steps"):
        StageCurves("sft", [*ladder.curves, *other.curves])


def test_a_lower_loss_promises_more(ladder):
    first, second = (ladder.curves[index].points[5].promise("nll") for index in (0, 1))
    assert all(a < b for a, b in zip(first, second, strict=True))
