"""Kahneman-Tversky optimisation: rows from pairs, and what its KL term needs."""

from align.methods.kto import METHOD, UNPAIRED
from align.methods.specification import Draft
from tests.align.training.short_runs import stage_of

PAIR = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5", "answer": "4"}


def test_a_pair_becomes_a_good_and_a_bad_answer() -> None:
    shared = {"prompt": "2 + 2?", "answer": "4"}
    assert list(METHOD.rows(PAIR)) == [
        {**shared, "completion": "4", "label": True},
        {**shared, "completion": "5", "label": False},
    ]


def test_a_row_with_a_label_stays_as_it_is() -> None:
    row = {"prompt": "2 + 2?", "completion": "5", "label": False}
    assert list(METHOD.rows(row)) == [row]


def test_prompts_need_neighbours_unless_the_loss_has_no_kl_term() -> None:
    paired, alone = stage_of("kto"), stage_of("kto", loss_type=UNPAIRED)
    assert (METHOD.least_rows(paired), METHOD.least_rows(alone)) == (2, 1)


def test_a_draft_without_answers_to_check_ranks_labels() -> None:
    checkable, other = (Draft(("sft", "kto"), 64, known) for known in (True, False))
    assert METHOD.draft_objective(checkable).startswith("accuracy")
    assert METHOD.draft_objective(other).startswith("label_auc")
