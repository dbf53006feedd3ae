"""DPO's reference: the parent's log-probabilities, computed once for all trials on it."""

import json
import math
from pathlib import Path

import pytest
import torch
from trl import DPOTrainer

from align.errors import TrainingError
from align.precision import choose
from align.training import attempt as running
from align.training.reference_logprobs import give_reference
from tests.align.training.short_runs import rows_of, run, same, stage_of


@pytest.fixture(autouse=True)
def fp32(monkeypatch, home):
    monkeypatch.setattr(
        "align.methods.trainers.trainer_inputs.precision", lambda: choose("cpu", None, False)
    )


@pytest.fixture
def forwards(monkeypatch) -> list[int]:
    """Rows of each reference forward: ahead of training and within its steps."""
    whole, counted = DPOTrainer.compute_ref_log_probs, []

    def count(self, model, inputs):
        counted.append(len(inputs["input_ids"]) // 2)
        return whole(self, model, inputs)

    monkeypatch.setattr(DPOTrainer, "compute_ref_log_probs", count)
    return counted


def entries(home: Path) -> dict[str, int]:
    """Values in each file."""
    files = (home / "reference").glob("*.json")
    return {path.name: len(json.loads(path.read_text())) for path in files}


@pytest.mark.parametrize(
    ("dropout", "fields"),
    [(0.0, {}), (0.2, {}), (0.2, {"gradient_checkpointing": True}), (0.2, {"ld_alpha": 0.5})],
)
def test_losses_and_weights_are_those_of_trls_own_reference(
    tiny, make_adapter, tmp_path, monkeypatch, fields, dropout
):
    """Bit for bit, on a parent, while each row is met for the first time."""
    parent = make_adapter("parent", 1)
    given = {"stage": stage_of("dpo", dropout, **fields), "parent": parent, "to": 3}
    ours, first = run(tiny, "dpo", tmp_path / "ours", **given)
    monkeypatch.setattr(running, "give_reference", lambda *_: None)
    theirs, second = run(tiny, "dpo", tmp_path / "theirs", **given)
    assert ours == theirs and same(first, second)
    assert len(set(ours.values())) == 3


def test_pairs_that_are_alike_in_part_have_values_of_their_own(tiny, home, tmp_path, monkeypatch):
    """One row of the four differs from the first in its rejected answer alone, one in each part."""
    first, other = rows_of("dpo", 2)
    rows = [first, *({**first, part: other[part]} for part in ("rejected", "chosen", "prompt"))]
    assert len({json.dumps(row) for row in rows}) == 4
    given = {"to": 1, "steps": 1, "rows": rows}
    ours, one = run(tiny, "dpo", tmp_path / "ours", **given)
    ((path, count),) = entries(home).items()
    assert count == 4
    values = json.loads((home / "reference" / path).read_text()).values()
    assert len({round(rejected, 3) for _, rejected in values}) == 3  # two rows share theirs only
    monkeypatch.setattr(running, "give_reference", lambda *_: None)
    theirs, two = run(tiny, "dpo", tmp_path / "theirs", **given)
    assert ours == theirs and same(one, two)


def test_rows_met_again_in_other_batches_differ_by_rounding_alone(tiny, tmp_path, monkeypatch):
    """Another batch is padded to another width, and fp32 sums in another order."""
    ours, _ = run(tiny, "dpo", tmp_path / "ours", to=6)
    monkeypatch.setattr(running, "give_reference", lambda *_: None)
    theirs, _ = run(tiny, "dpo", tmp_path / "theirs", to=6)
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_no_reference_is_computed_within_a_step(tiny, tmp_path, monkeypatch, forwards):
    """Each step's batch goes through the model once: chosen and rejected, policy alone."""
    calls = []
    whole = DPOTrainer._compute_loss

    def count(self, model, inputs, *rest):
        before = model.register_forward_hook(lambda *_: calls.append(1))
        try:
            return whole(self, model, inputs, *rest)
        finally:
            before.remove()

    monkeypatch.setattr(DPOTrainer, "_compute_loss", count)
    run(tiny, "dpo", tmp_path, to=3)
    assert len(calls) == 3
    assert forwards == [4, 4, 4]


def test_the_second_trial_computes_nothing_whatever_it_searches(tiny, tmp_path, forwards):
    run(tiny, "dpo", tmp_path / "one", to=3)
    assert len(forwards) == 3
    other = stage_of("dpo", dropout=0.3, learning_rate=1e-4, beta=0.5)
    other.lora.r = 8
    first, _ = run(tiny, "dpo", tmp_path / "two", to=3, stage=other)
    assert len(forwards) == 3
    # Another seed: the same rows in another order, so other micro-batches, all known.
    second, _ = run(tiny, "dpo", tmp_path / "three", to=3, stage=other, seed=1)
    assert len(forwards) == 3
    assert first != second


def test_rows_that_a_run_will_not_see_are_not_computed(tiny, home, tmp_path, forwards):
    run(tiny, "dpo", tmp_path, to=1, steps=3)
    assert list(entries(home).values()) == [4]
    run(tiny, "dpo", tmp_path, to=2, steps=3)
    assert list(entries(home).values()) == [8]
    assert forwards == [4, 4]


def test_a_row_without_its_reference_ends_the_run(tiny, tmp_path, monkeypatch):
    """NaN where nothing was computed: no step is taken on a made-up reference."""

    def too_few(trainer, reference, _):
        give_reference(trainer, reference, 1)

    monkeypatch.setattr(running, "give_reference", too_few)
    with pytest.raises(TrainingError, match="step 2"):
        run(tiny, "dpo", tmp_path, to=3)


def test_another_parent_or_length_has_entries_of_its_own(tiny, home, make_adapter, tmp_path):
    parents = [None, make_adapter("one", 1), make_adapter("two", 2)]
    for number, parent in enumerate(parents):
        run(tiny, "dpo", tmp_path / f"parent-{number}", to=1, parent=parent)
    assert len(entries(home)) == 3
    for number, fields in enumerate([{"max_length": 256}, {"ld_alpha": 0.5}]):
        run(tiny, "dpo", tmp_path / f"fields-{number}", to=1, stage=stage_of("dpo", **fields))
    assert list(entries(home).values()) == [4] * 5


def test_values_differ_between_parents_and_are_finite(tiny, home, make_adapter, tmp_path):
    for number, parent in enumerate([None, make_adapter("one", 1)]):
        run(tiny, "dpo", tmp_path / str(number), to=1, parent=parent)
    kept = [json.loads(path.read_text()) for path in (home / "reference").glob("*.json")]
    assert kept[0].keys() == kept[1].keys()
    numbers = [torch.tensor(list(one.values())) for one in kept]
    assert all(math.isfinite(float(one.sum())) for one in numbers)
    assert (numbers[0] - numbers[1]).abs().min() > 1e-3


def test_what_was_computed_before_running_out_of_memory_is_kept(tiny, home, tmp_path, monkeypatch):
    whole, calls = DPOTrainer.compute_ref_log_probs, []

    def full(self, model, inputs):
        calls.append(len(inputs["input_ids"]) // 2)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, model, inputs)

    monkeypatch.setattr(DPOTrainer, "compute_ref_log_probs", full)
    run(tiny, "dpo", tmp_path, to=3, rows=rows_of("dpo"))
    assert calls == [4, 4, 2, 2, 2, 2]
    assert list(entries(home).values()) == [12]
