"""The rows of single items that an evaluation leaves."""

import pickle
from statistics import fmean

import pytest

from align.evaluation.examples import examples
from tests.align.evaluation.held_out import held_out


def test_rows_of_single_items_hold_every_number_and_travel(home, plain, other):
    whole = held_out(plain, "sft", None).end(other)
    rows = examples(pickle.loads(pickle.dumps(whole)))
    assert [one.items for one in rows] == ["answers"] * 6 + ["completions"] * 6
    answer, completion = rows[0], rows[6]
    assert answer.prompt.startswith("Tell me about the number") and answer.text == whole.texts[0]
    assert set(answer.numbers) >= {"length", "tokens", "repetition", "kl_per_answer", "mean_reward"}
    assert completion.numbers == {"nll": whole.nll[0]} and completion.split == "validation"
    assert len({one.key for one in rows}) == 12
    means = whole.metrics()
    assert means["nll"] == pytest.approx(fmean(one.numbers["nll"] for one in rows[6:]))
