"""Rows that are too long are counted as TRL's trainers treat them, and never silently lost."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from trl import (
    DPOConfig,
    DPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)

from align.base import Base
from align.data.lengths import Lengths, measure_lengths, trainable
from align.errors import DataError

LIMIT = 64


def turn(role: str, length: int) -> list[dict[str, str]]:
    return [{"role": role, "content": "x" * length}]


def rows(count: int = 48) -> list[dict[str, Any]]:
    """Prompts and answers of all lengths around the limit; one byte is one token."""
    return [
        {
            "prompt": turn("user", n),
            "completion": turn("assistant", 5 * (n % 5) + 1),
            "chosen": turn("assistant", 5 * (n % 5) + 1),
            "rejected": [{"role": "assistant", "content": "y" * (7 * (n % 4) + 1)}],
            "label": n % 2 == 0,
        }
        for n in range(count)
    ]


def kept(
    base: Base, method: str, columns: tuple[str, ...], out: Path, **options: Any
) -> tuple[int, int]:
    """Rows that TRL's own trainer keeps, and of those the ones that its batches cut."""
    from datasets import Dataset

    kinds: dict[str, tuple[Any, Any]] = {
        "sft": (SFTTrainer, SFTConfig),
        "reward": (RewardTrainer, RewardConfig),
        "dpo": (DPOTrainer, DPOConfig),
        "kto": (KTOTrainer, KTOConfig),
    }
    trainer_class, config = kinds[method]
    model = base.shell()
    if method == "reward":
        from align.methods.trainers.sequence_classifier import with_head

        model = with_head(model, base.tokenizer.pad_token_id, 0)
    args = config(
        output_dir=str(out), max_length=LIMIT, report_to="none", bf16=False, use_cpu=True,
        **({"completion_only_loss": True} if method == "sft" else {}), **options,
    )  # fmt: skip
    data = Dataset.from_list([{name: row[name] for name in columns} for row in rows()])
    trainer = trainer_class(
        model=model, args=args, train_dataset=data, processing_class=base.tokenizer
    )
    found = trainer.train_dataset
    if method == "sft":
        ends = [ids[-1] == base.tokenizer.encode("\n")[0] for ids in found["input_ids"]]
        return len(found), ends.count(False)
    if method == "reward":
        return len(found), 0
    sides = ("chosen_ids", "rejected_ids") if method == "dpo" else ("completion_ids",)
    whole = [max(len(row["prompt_ids"]) + len(row[side]) for side in sides) for row in found]
    return len(found), sum(one > LIMIT for one in whole)


@pytest.mark.parametrize(
    ("method", "columns"),
    [
        ("sft", ("prompt", "completion")),
        ("reward", ("prompt", "chosen", "rejected")),
        ("dpo", ("prompt", "chosen", "rejected")),
        ("kto", ("prompt", "completion", "label")),
    ],
)
def test_counts_are_what_trl_does(
    tiny: Base, tmp_path: Path, method: Any, columns: tuple[str, ...]
) -> None:
    lengths = measure_lengths(tiny.tokenizer, rows(), method, LIMIT)
    left, cut = kept(tiny, method, columns, tmp_path)
    assert (lengths.rows - lengths.left_out, lengths.too_long) == (left, cut)
    assert lengths.left_out > 0 and (lengths.too_long > 0 or method == "reward")


def test_without_a_mask_nothing_is_left_out_and_the_end_may_be_kept(tiny: Base) -> None:
    plain = measure_lengths(tiny.tokenizer, rows(), "sft", LIMIT)
    everything = {"completion_only_loss": False}
    whole = measure_lengths(tiny.tokenizer, rows(), "sft", LIMIT, everything)
    end = measure_lengths(tiny.tokenizer, rows(), "dpo", LIMIT, {"truncation_mode": "keep_end"})
    assert whole.left_out == end.left_out == 0
    assert whole.too_long == plain.too_long + plain.left_out


def test_packing_that_splits_rows_loses_nothing(tiny: Base) -> None:
    packed = {"packing": True, "packing_strategy": "bfd_split"}
    lengths = measure_lengths(tiny.tokenizer, rows(), "sft", LIMIT, packed)
    assert (lengths.too_long, lengths.left_out) == (0, 0)
    cut = measure_lengths(tiny.tokenizer, rows(), "sft", LIMIT, {"packing": True})
    assert cut == measure_lengths(tiny.tokenizer, rows(), "sft", LIMIT)


def test_without_a_bound_all_is_whole(tiny: Base) -> None:
    lengths = measure_lengths(tiny.tokenizer, rows(), "dpo", None)
    assert (lengths.too_long, lengths.left_out, lengths.sentence()) == (0, 0, "")
    assert lengths.longest > LIMIT


@pytest.mark.parametrize("method", ["sft", "reward", "dpo", "kto"])
def test_nothing_left_is_an_error_that_says_what_is_needed(tiny: Base, method: Any) -> None:
    longest = measure_lengths(tiny.tokenizer, rows(), method, None).longest
    with pytest.raises(DataError, match="max_length 8 leaves no row of 48") as caught:
        measure_lengths(tiny.tokenizer, rows(), method, 8)
    assert f"raise max_length to {longest}" in str(caught.value)
    found = measure_lengths(tiny.tokenizer, rows(), method, longest)
    assert (found.too_long, found.left_out) == (0, 0)


def test_less_than_a_micro_batch_is_an_error_only_if_rows_are_left_out(tiny: Base) -> None:
    batch = {"per_device_train_batch_size": 64}
    with pytest.raises(DataError, match=r"leaves only .* less than a micro-batch of 64"):
        measure_lengths(tiny.tokenizer, rows(), "sft", LIMIT, batch)
    assert measure_lengths(tiny.tokenizer, rows(), "sft", 4096, batch).rows == 48


def test_prompts_of_grpo_fit_beside_their_completions(tiny: Base) -> None:
    longest = measure_lengths(tiny.tokenizer, rows(), "grpo", None).longest
    last = tiny.tokenizer.apply_chat_template(
        rows()[-1]["prompt"], add_generation_prompt=True, tokenize=False
    )
    assert longest == len(tiny.tokenizer.encode(last))
    assert measure_lengths(tiny.tokenizer, rows(), "grpo", longest).too_long == 0
    with pytest.raises(DataError, match=f"1 of 48 prompts .* the longest has {longest}: shorten"):
        measure_lengths(tiny.tokenizer, rows(), "grpo", longest - 1)


def test_the_sentence() -> None:
    told = Lengths(rows=300, longest=812, too_long=12, left_out=3, max_length=512).sentence()
    assert told == (
        "12 of 300 rows are cut and 3 of 300 are left out at max_length 512; "
        "the longest has 812 tokens"
    )


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    sides = {"prompt": ("user", prompt), "chosen": ("assistant", chosen)}
    sides["rejected"] = ("assistant", rejected)
    return {name: [{"role": role, "content": text}] for name, (role, text) in sides.items()}


def labelled(prompt: str, answer: str, label: bool) -> dict[str, Any]:
    row = pair(prompt, answer, "")
    return {"prompt": row["prompt"], "completion": row["chosen"], "label": label}


PAIRS = [
    pair("equal", "same", "same"),
    pair("late", "x" * 80 + "good", "x" * 80 + "bad"),
    pair("early", "good" + "x" * 80, "bad" + "x" * 80),
    pair("short", "good", "bad"),
    pair("longer", "good", "good, and more"),
]


@pytest.mark.parametrize("method", ["dpo", "orpo", "reward"])
def test_pairs_that_are_equal_before_or_after_the_cut_state_no_preference(
    tiny: Base, method: Any
) -> None:
    whole = measure_lengths(tiny.tokenizer, PAIRS, method, None)
    assert (whole.without_preference, whole.used) == (1, 4)
    assert trainable(tiny.tokenizer, PAIRS, method, None) == PAIRS[1:]
    cut = measure_lengths(tiny.tokenizer, PAIRS, method, 90)
    left_out = 2 if method == "reward" else 0  # a reward model leaves out what is too long
    assert (cut.without_preference, cut.left_out) == (1 if left_out else 2, left_out)
    trained = trainable(tiny.tokenizer, PAIRS, method, 90)
    assert PAIRS[0] not in trained and PAIRS[3] in trained and PAIRS[4] in trained
    assert cut.sentence().endswith("of 5 rows state no preference and are left out")


def test_which_end_is_kept_decides_what_is_equal(tiny: Base) -> None:
    end = {"truncation_mode": "keep_end"}
    assert trainable(tiny.tokenizer, PAIRS, "dpo", 60, end) == [PAIRS[1], PAIRS[3], PAIRS[4]]
    start = trainable(tiny.tokenizer, PAIRS, "dpo", 60)
    assert start == [PAIRS[2], PAIRS[3], PAIRS[4]]


def test_differences_that_the_template_strips_are_none(tiny: Base) -> None:
    stripping = copy.deepcopy(tiny.tokenizer)
    stripping.chat_template = stripping.chat_template.replace(
        "message['content']", "message['content'] | trim"
    )
    blank = [pair("blank", "same", " same\n"), *PAIRS[2:]]
    assert measure_lengths(stripping, blank, "dpo", None).without_preference == 1
    assert measure_lengths(tiny.tokenizer, blank, "dpo", None).without_preference == 0


def test_answers_that_are_labelled_good_and_bad_state_no_preference(tiny: Base) -> None:
    rows = [
        labelled("a", "same", True), labelled("b", "good", True), labelled("a", "same", False),
        labelled("b", "bad", False), labelled("c", "twice", True), labelled("c", "twice", True),
    ]  # fmt: skip
    assert measure_lengths(tiny.tokenizer, rows, "kto", None).without_preference == 2
    assert trainable(tiny.tokenizer, rows, "kto", None) == [rows[1], *rows[3:]]
    late = [labelled("d", "x" * 80 + "yes", True), labelled("d", "x" * 80 + "no", False)]
    assert trainable(tiny.tokenizer, [*rows, *late], "kto", 64) == [rows[1], *rows[3:]]
    assert trainable(tiny.tokenizer, [*rows, *late], "kto", None) == [rows[1], *rows[3:], *late]


def test_without_any_preference_there_is_nothing_to_train_on(tiny: Base) -> None:
    equal = [PAIRS[0]] * 3
    with pytest.raises(DataError, match=r"no row of 3 rows .* chosen and rejected are the same:"):
        measure_lengths(tiny.tokenizer, equal, "dpo", None)
    with pytest.raises(DataError, match=r"same in the 64 tokens of max_length: raise max_length"):
        measure_lengths(tiny.tokenizer, [PAIRS[1]] * 3, "orpo", 64)
    both = [labelled("a", "same", True), labelled("a", "same", False)]
    with pytest.raises(DataError, match="the same answer is labelled good and bad: correct"):
        measure_lengths(tiny.tokenizer, both, "kto", None)
    batch = {"per_device_train_batch_size": 4}
    with pytest.raises(DataError, match="only 3, less than a micro-batch of 4, of 4 rows can be"):
        measure_lengths(tiny.tokenizer, [PAIRS[0], *PAIRS[2:]], "reward", None, batch)


def test_pairs_with_a_preference_are_all_trained_on(tiny: Base) -> None:
    for method in ("dpo", "reward"):
        assert trainable(tiny.tokenizer, rows(), method, None) == rows()
