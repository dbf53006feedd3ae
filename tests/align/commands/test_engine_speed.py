"""The engine's predicted speed as text and as plain data."""

import json

from align.commands.engine_speed import WIDTH, speed_json, speed_text
from align.memory.machines import gpu
from align.memory.roofline import predict_engine
from align.memory.shape import shape_of
from tests.align.shapes import QWEN

SHAPE, T4 = shape_of(QWEN, "qwen"), gpu("T4")


def test_the_table_has_a_line_for_each_kind_and_number_of_rows():
    lines = list(speed_text(SHAPE, T4, 16))
    assert "on a T4" in lines[0]
    assert lines[1].split()[:3] == ["ROWS", "HOW", "NO"]
    cells = [line.split() for line in lines[2:11]]
    assert [(line[0], line[1]) for line in cells] == [
        (rows, kind) for kind in ("graphs", "eager", "prompts") for rows in ("1", "8", "32")
    ]
    assert all(len(line) <= WIDTH for line in lines)
    assert "Predicted, not measured" in " ".join(lines[11:])


def test_the_table_and_the_plain_data_have_the_same_numbers():
    data = speed_json(SHAPE, T4, 16)
    assert json.loads(json.dumps(data)) == data
    assert (data["gpu"], data["dtype"], data["rank"]) == ("T4", "float16", 16)
    assert len(data["predictions"]) == len(predict_engine(SHAPE, T4, 16)) == 27
    text = "\n".join(speed_text(SHAPE, T4, 16))
    for one in data["predictions"]:
        low, high = one["tokens_per_second"]
        assert f"{low:,.0f} to {high:,.0f}" in text
        assert f"{one['launches']:,}" in text
