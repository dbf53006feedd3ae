"""Shapes of padded decode steps, and which of them are captured."""

import pytest

from align.inference.scheduling.decode_buckets import Bucket, bucket_of, capturable


@pytest.mark.parametrize(
    ("rows", "padded"), [(1, 1), (3, 4), (9, 16), (33, 48), (128, 128), (129, 192), (200, 200)]
)
def test_rows_are_padded_but_not_beyond_the_slots(rows: int, padded: int) -> None:
    assert bucket_of(rows, 300, 200, 1000).rows == padded


@pytest.mark.parametrize(
    ("rows", "longest", "padded"),
    [(32, 1, 256), (32, 257, 512), (32, 600, 1000), (32, 1000, 1000), (1, 1, 1000), (8, 1, 512)],
)
def test_lengths_end_at_the_slot_and_few_rows_have_few(
    rows: int, longest: int, padded: int
) -> None:
    assert bucket_of(rows, longest, 64, 1000).longest == padded


@pytest.mark.parametrize("slots", [1, 5, 32, 64, 200])
@pytest.mark.parametrize("limit", [16, 200, 256, 1000, 5461, 32768])
def test_every_step_that_gains_from_a_graph_has_one(slots: int, limit: int) -> None:
    shapes = capturable(slots, limit)
    sizes = [shape.positions for shape in shapes]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(shapes)) == len(shapes)
    for rows in range(1, slots + 1):
        for longest in {1, limit // 3 + 1, limit // 2 + 1, limit}:
            shape = bucket_of(rows, longest, slots, limit)
            assert rows <= shape.rows <= slots and longest <= shape.longest <= limit
            assert (shape in shapes) == (shape.positions <= 65_536)


def test_the_number_of_graphs_stays_small() -> None:
    """Qwen2.5-0.5B with 4 GiB of keys and values had 63 shapes, and these twice."""
    assert len(capturable(64, 5461)) <= 33
    assert len(capturable(32, 768)) <= 14


def test_positions_are_what_a_step_reads() -> None:
    assert Bucket(4, 256).positions == 1024
