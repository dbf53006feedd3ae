"""What a stage is given and cannot use: one clear error each, and nothing is left behind."""

import logging
import shutil
from dataclasses import replace

import pytest
from transformers import AutoTokenizer
from trl import SFTTrainer

from align.base import load_base, model_source
from align.chat_tools import template_arguments
from align.data.splits import load_split
from align.errors import DataError, ModelError, RecipeError, TrainingError
from align.methods import METHODS
from align.methods.trainers.trainer_inputs import TrainerInputs
from align.training.train_record import read_record
from tests.align.data.recipes import recipe
from tests.align.tool_templates import TOOL_TEMPLATE, tool, tool_row
from tests.align.training.short_runs import rows_of, run, stage_of


def test_every_field_of_the_recipe_arrives_and_alignerys_own_win(tmp_path):
    fields = {"adam_beta2": 0.95, "optim": "sgd", "loss_type": "ipo", "warmup_steps": 3}
    base = load_base("tiny-random")
    job = TrainerInputs(base.shell(), base.tokenizer, stage_of("dpo", **fields), 5, [], tmp_path, 7)
    arguments = job.arguments()
    assert {name: arguments[name] for name in fields} == fields
    assert (arguments["max_steps"], arguments["seed"], arguments["output_dir"]) == (
        5,
        7,
        str(tmp_path),
    )


def test_a_column_that_the_first_row_lacks_reaches_trl(tmp_path):
    rows = [
        {"prompt": [{"role": "user", "content": f"p{n}"}]} | ({"answer": str(n)} if n else {})
        for n in range(3)
    ]
    base = load_base("tiny-random")
    inputs = TrainerInputs(base.shell(), base.tokenizer, stage_of("grpo"), 1, rows, tmp_path, 0)
    assert inputs.columns("prompt", "answer")["answer"] == [None, "1", "2"]
    assert inputs.columns("prompt", "level").column_names == ["prompt"]


def test_what_trl_refuses_is_the_recipes_fault(tmp_path):
    """Whatever the recipe's own checks let pass."""
    wrong = stage_of("dpo").model_copy(update={"optim": "nonsense"})
    with pytest.raises(RecipeError, match=r"this dpo stage: .*nonsense"):
        run(load_base("tiny-random"), "dpo", tmp_path, stage=wrong, to=1)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_is_not_averaged_away(tmp_path, monkeypatch):
    whole = SFTTrainer.compute_loss

    def nan_at_the_second(self, *args, **kwargs):
        return whole(self, *args, **kwargs) * (float("nan") if self.state.global_step else 1.0)

    monkeypatch.setattr(SFTTrainer, "compute_loss", nan_at_the_second)
    with pytest.raises(TrainingError, match=r"step 2: the loss became nan.*learning_rate"):
        run(load_base("tiny-random"), "sft", tmp_path, to=3)
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_too_long_are_counted_and_told(tmp_path, caplog):
    rows = rows_of("sft", 8)
    longest = {**rows[0], "completion": [{"role": "assistant", "content": "long " * 200}]}
    with caplog.at_level(logging.WARNING, logger="align"):
        base = load_base("tiny-random")
        _, checkpoint = run(base, "sft", tmp_path, to=1, rows=[longest, *rows[1:]])
        _, checkpoint = run(base, "sft", tmp_path, to=2, rows=[longest, *rows[1:]])
    lengths = read_record(checkpoint).lengths
    assert (lengths["rows"], lengths["too_long"], lengths["left_out"]) == (8, 1, 0)
    told = [one.getMessage() for one in caplog.records if "max_length" in one.getMessage()]
    assert len(told) == 1 and "1 of 8 rows are cut at max_length 512" in told[0]


@pytest.mark.parametrize("method", ["sft", "grpo"])
def test_rows_of_which_nothing_is_left_are_an_error(tmp_path, method):
    rows = [
        {**row, "prompt": [{"role": "user", "content": "long " * 600}]} for row in rows_of(method)
    ]
    with pytest.raises(DataError, match="longest"):
        run(load_base("tiny-random"), method, tmp_path, rows=rows)


def test_a_base_whose_answers_cannot_end_is_refused(tmp_path):
    folder = shutil.copytree(model_source("tiny-random"), tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match="no eos token"):
        load_base.__wrapped__(str(folder))


def test_a_base_without_a_pad_token_pads_with_the_end_of_turn(tmp_path):
    folder = shutil.copytree(model_source("tiny-random"), tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    base = load_base.__wrapped__(str(folder))
    assert base.tokenizer.pad_token == base.tokenizer.eos_token == "<|im_end|>"
    _, checkpoint = run(base, "sft", tmp_path / "run", to=1)
    assert checkpoint.is_dir()


def test_training_leaves_the_tokenizer_as_it_was(tmp_path):
    base = load_base("tiny-random")
    other = replace(base, tokenizer=AutoTokenizer.from_pretrained(model_source("tiny-random")))
    before = (other.tokenizer.padding_side, other.tokenizer.pad_token, len(other.tokenizer))
    run(other, "dpo", tmp_path, to=1)
    after = (other.tokenizer.padding_side, other.tokenizer.pad_token, len(other.tokenizer))
    assert before == after


def test_an_optimizer_whose_package_is_missing_is_the_recipes_error(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.trainer_optimizer.is_bitsandbytes_available", lambda: False)
    with pytest.raises(RecipeError, match=r"sft stage needs a package: .*bitsandbytes"):
        run(load_base("tiny-random"), "sft", tmp_path, stage=stage_of("sft", optim="lion_8bit"))
    assert not list(tmp_path.glob("step_*"))


@pytest.mark.parametrize(
    ("method", "column", "sides"),
    [
        ("sft", "input_ids", ["completion"]),
        ("reward", "chosen_ids", ["chosen"]),
        ("dpo", "chosen_ids", ["chosen"]),
        ("kto", "completion_ids", ["completion"]),
    ],
)
def test_trl_renders_tools_as_the_engine_does(tmp_path, tokenizer, method, column, sides):
    tokenizer.chat_template = TOOL_TEMPLATE
    base, rows = load_base("tiny-random"), [tool_row(number) for number in range(6)]
    stage = stage_of(method, max_length=4096)
    inputs = TrainerInputs(base.shell(), tokenizer, stage, 1, rows, tmp_path, 7)
    prepared = METHODS[method].trainer(inputs).train_dataset
    for row, found in zip(rows, prepared, strict=True):
        turns, tools = template_arguments([*row["prompt"], *row[sides[0]]])
        whole = tokenizer.apply_chat_template(turns, return_dict=False, **tools)
        assert [*found.get("prompt_ids", []), *found[column]] == whole


def test_tools_that_a_trainer_does_not_render_are_refused(tmp_path):
    rows = [
        {"prompt": f"{n}", "chosen": "a", "rejected": "b", "tools": [tool("add")] if n else None}
        for n in range(12)
    ]
    with pytest.raises(DataError, match="rows 2, 3, 4 and 8 more: column 'tools' holds tools, wh"):
        load_split(recipe(tmp_path, rows, "orpo"), "one", "train")
    assert load_split(recipe(tmp_path, rows, "dpo"), "one", "train")
