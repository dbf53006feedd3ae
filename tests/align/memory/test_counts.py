"""The counts by arithmetic are those of a run, and no larger than the committed budgets."""

import pytest

from align.memory.counts import Counts, decode_step, read_prompts
from tests.align.memory.meta_models import (
    CASES,
    LONGEST,
    PROMPTS,
    RANK,
    budgets,
    count,
    label,
    shape,
)

#: Budgets may be exceeded by this share, so that another version of a library breaks nothing.
SLACK = 1.01


def by_arithmetic(name: str, what: str, adapters: int) -> Counts:
    ranks = [RANK] * adapters
    if what == "32 prompts":
        return read_prompts(shape(name), PROMPTS, ranks)
    return decode_step(shape(name), int(what.split()[0]), LONGEST, ranks)


@pytest.mark.parametrize(("name", "what", "adapters"), CASES)
def test_a_forward_pass_stays_within_its_budget(name, what, adapters):
    counted, budget = count(name, what, adapters), budgets()[label(name, what, adapters)]
    assert counted.launches <= SLACK * budget.launches
    assert counted.bytes <= SLACK * budget.bytes
    assert counted.operations <= SLACK * budget.operations


@pytest.mark.parametrize(("name", "what", "adapters"), CASES)
def test_arithmetic_counts_what_a_run_does(name, what, adapters):
    counted, computed = count(name, what, adapters), by_arithmetic(name, what, adapters)
    assert computed.launches == pytest.approx(counted.launches, rel=0.02)
    assert computed.bytes == pytest.approx(counted.bytes, rel=0.05)
    assert computed.operations == pytest.approx(counted.operations, rel=0.02)


def test_counts_add_up():
    one = Counts(1, 20, 300)
    assert one + one == one * 2 == Counts(2, 40, 600)
    assert Counts() + one == one


def test_a_step_reads_every_weight_once():
    qwen = shape("qwen2.5-0.5b")
    counts = decode_step(qwen, 1, 1)
    assert counts.bytes == pytest.approx(2 * qwen.parameters, rel=0.02)
    assert counts.operations == pytest.approx(2 * qwen.parameters, rel=0.02)
