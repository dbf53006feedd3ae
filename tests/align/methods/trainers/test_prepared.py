"""Rows are tokenised once for all trials that take them in the same way."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from datasets import Dataset, are_progress_bars_disabled
from peft import LoraConfig
from transformers import set_seed

from align.base import Base
from align.methods import METHODS
from align.methods.trainers import prepared
from align.methods.trainers.prepared import entry_key, kept
from align.methods.trainers.sequence_classifier import with_head
from tests.odd_names import ODD_NAMES

TRAINERS = {
    "sft": (trl.SFTTrainer, trl.SFTConfig, ("prompt", "completion")),
    "reward": (trl.RewardTrainer, trl.RewardConfig, ("prompt", "chosen", "rejected")),
    "dpo": (trl.DPOTrainer, trl.DPOConfig, ("prompt", "chosen", "rejected")),
    "kto": (trl.KTOTrainer, trl.KTOConfig, ("prompt", "completion", "label")),
}
KINDS: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    method: (prepared.prepared(trainer, METHODS[method].preparation_fields), config, columns)
    for method, (trainer, config, columns) in TRAINERS.items()
}


@pytest.fixture(autouse=True)
def own_home(home: Path) -> Path:
    prepared._OPEN.clear()
    return home / "prepared"


def rows(count: int = 8) -> list[dict[str, Any]]:
    def answer(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    return [
        {
            "prompt": [{"role": "user", "content": f"ask {n}" * (n % 3 + 1)}],
            "completion": answer(f"say {n}"),
            "chosen": answer(f"good {n}"),
            "rejected": answer(f"bad {n} " * 2),
            "label": n % 2 == 0,
        }
        for n in range(count)
    ]


def build(
    base: Base, tokenizer: Any, method: str, out: Path, *, cached: bool = True,
    data: list[dict[str, Any]] | None = None, **options: Any,
) -> Any:  # fmt: skip
    trainer, config, columns = KINDS[method]
    if not cached:
        trainer = trainer.__mro__[2]
    set_seed(0)
    model = base.shell()
    if method == "reward":
        model = with_head(model, tokenizer.pad_token_id, 0)
    args = config(
        output_dir=str(out), max_steps=2, report_to="none", bf16=False, use_cpu=True,
        save_strategy="no", disable_tqdm=True, gradient_checkpointing=False,
        **{"per_device_train_batch_size": 4, "max_length": 256, "learning_rate": 1e-2, **options},
    )  # fmt: skip
    kind = {"task_type": "SEQ_CLS", "modules_to_save": ["score"]} if method == "reward" else {}
    taken = [{name: row[name] for name in columns} for row in data or rows()]
    return trainer(
        model=model, args=args, train_dataset=Dataset.from_list(taken),
        processing_class=tokenizer, peft_config=LoraConfig(target_modules="all-linear", **kind),
    )  # fmt: skip


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tokenizer: Any) -> list[Any]:
    """One entry for each rendered conversation."""
    made: list[Any] = []
    real = type(tokenizer).apply_chat_template

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        made.append(arguments)
        return real(self, *arguments, **options)

    monkeypatch.setattr(type(tokenizer), "apply_chat_template", counted)
    return made


@pytest.mark.parametrize("method", KINDS)
def test_the_second_build_does_not_tokenise_and_trains_the_same(
    tiny: Base, tokenizer: Any, tmp_path: Path, calls: list[Any], method: str
) -> None:
    def weights(trainer: Any) -> dict[str, torch.Tensor]:
        trainer.train()
        state = trainer.model.state_dict()
        return {
            name: one.clone() for name, one in state.items() if "lora" in name or "score" in name
        }

    plain = weights(build(tiny, tokenizer, method, tmp_path, cached=False))
    tokenised = len(calls)
    assert tokenised >= len(rows())
    first = weights(build(tiny, tokenizer, method, tmp_path))
    assert len(calls) == 2 * tokenised
    second = weights(build(tiny, tokenizer, method, tmp_path))
    assert len(calls) == 2 * tokenised
    for found in (first, second):
        assert all(torch.equal(found[name], plain[name]) for name in plain)
    assert any(one.abs().sum() > 0 for name, one in plain.items() if "lora_B" in name)


def entries(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if not one.name.startswith("."))


def test_what_matters_makes_another_entry(
    tiny: Base, tokenizer: Any, tmp_path: Path, own_home: Path
) -> None:
    def count() -> int:
        return len(entries(own_home))

    build(tiny, tokenizer, "sft", tmp_path)
    build(tiny, tokenizer, "sft", tmp_path, learning_rate=1.0, warmup_steps=1)
    assert count() == 1
    build(tiny, tokenizer, "sft", tmp_path, max_length=128)
    build(tiny, tokenizer, "sft", tmp_path, packing=True)
    build(tiny, tokenizer, "sft", tmp_path, completion_only_loss=False)
    assert count() == 4
    build(tiny, tokenizer, "sft", tmp_path, data=[*rows()[:-1], rows(20)[-1]])
    assert count() == 5
    tokenizer.chat_template = tokenizer.chat_template.replace("user", "USER") + "{# other #}"
    build(tiny, tokenizer, "sft", tmp_path)
    assert count() == 6


@pytest.mark.parametrize(
    ("method", "column"),
    [(method, name) for method, (*_, names) in KINDS.items() for name in names],
)
def test_rows_that_differ_in_one_column_make_another_entry(
    tokenizer: Any, tmp_path: Path, method: str, column: str
) -> None:
    trainer, config, columns = KINDS[method]
    args = config(output_dir=str(tmp_path), bf16=False, use_cpu=True)

    def key(data: list[dict[str, Any]]) -> str:
        taken = Dataset.from_list([{name: row[name] for name in columns} for row in data])
        fields = METHODS[method].preparation_fields
        return entry_key(taken, tokenizer, trainer.__mro__[2].__name__, fields, args)

    data, changed = rows(), rows()
    assert key(data) == key(changed)
    changed[3][column] = rows()[4][column]
    assert data[3][column] != changed[3][column] and key(data) != key(changed)


def test_kto_keeps_an_entry_for_each_micro_batch(
    tiny: Base, tokenizer: Any, tmp_path: Path, own_home: Path
) -> None:
    """The answers beside each prompt, from which it estimates the divergence, come from it."""
    four = build(tiny, tokenizer, "kto", tmp_path).train_dataset["KL_completion_ids"]
    two = build(tiny, tokenizer, "kto", tmp_path, per_device_train_batch_size=2).train_dataset
    assert len(entries(own_home)) == 2
    assert list(two["KL_completion_ids"]) != list(four)
    build(tiny, tokenizer, "dpo", tmp_path)
    build(tiny, tokenizer, "dpo", tmp_path, per_device_train_batch_size=2)
    assert len(entries(own_home)) == 3


@pytest.mark.parametrize("method", TRAINERS)
def test_every_field_that_trl_reads_is_in_the_key(method: str) -> None:
    source = inspect.getsource(TRAINERS[method][0]._prepare_dataset)
    assert set(re.findall(r"\bargs\.(\w+)", source)) <= set(METHODS[method].preparation_fields)
    of_self = set(re.findall(r"\bself\.(\w+)", source))
    told = {  # what stands for a field above, comes from the tokenizer, or is for warnings
        "_tokenizer", "completion_only_loss", "chat_template", "calculate_KL",
        "desirable_weight", "undesirable_weight",
    }  # fmt: skip
    assert of_self <= told


@pytest.mark.parametrize("damage", ["bytes", "missing", "digest"])
def test_a_damaged_entry_is_made_anew(
    tiny: Base, tokenizer: Any, tmp_path: Path, own_home: Path, damage: str
) -> None:
    good = build(tiny, tokenizer, "sft", tmp_path).train_dataset.to_list()
    (entry,) = entries(own_home)
    arrow = next(entry.glob("*.arrow"))
    if damage == "bytes":
        content = bytearray(arrow.read_bytes())
        content[len(content) // 2] ^= 0xFF
        arrow.write_bytes(content)
    elif damage == "missing":
        arrow.unlink()
    else:
        (entry / "digest.json").write_text("{")
    prepared._OPEN.clear()  # as another worker would find it
    assert build(tiny, tokenizer, "sft", tmp_path).train_dataset.to_list() == good
    assert prepared._read(entry) is not None


def test_what_fails_leaves_nothing(own_home: Path) -> None:
    def make() -> Dataset:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        kept("a" * 64, make)
    assert entries(own_home) == []


def test_the_bounds_are_kept_by_last_use(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one(name: str) -> None:
        prepared._OPEN.clear()
        kept(name, lambda: Dataset.from_dict({"input_ids": [[1] * 1000]}))

    monkeypatch.setattr(prepared, "MOST_ENTRIES", 3)
    for age, name in enumerate("abc"):
        one(name)
        os.utime(own_home / name, (1000 + age, 1000 + age))
    one("a")  # used again, so it is the newest now
    one("d")
    assert [path.name for path in entries(own_home)] == ["a", "c", "d"]
    monkeypatch.setattr(prepared, "MOST_BYTES", 1)
    one("e")
    assert [path.name for path in entries(own_home)] == ["e"]


PROCESS = """
import time
from datasets import Dataset
from align.methods.trainers.prepared import kept

def make():
    print("made", flush=True)
    time.sleep(1)
    return Dataset.from_dict({"input_ids": [[1, 2, 3]]})

print(kept("f" * 64, make)["input_ids"][0])
"""


def test_two_processes_at_once_prepare_once(own_home: Path) -> None:
    both = [
        subprocess.Popen([sys.executable, "-c", PROCESS], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [one.communicate(timeout=300)[0] for one in both]
    assert sum("made" in text for text in said) == 1
    assert all(text.endswith("[1, 2, 3]\n") for text in said)


def test_workers_print_no_bars(
    tiny: Base, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    # Tests switch the bars off by the environment, which has the last word.
    bars = sys.modules["datasets.utils.tqdm"]
    monkeypatch.setattr(bars, "HF_DATASETS_DISABLE_PROGRESS_BARS", None)
    monkeypatch.setattr(bars, "_hf_datasets_progress_bars_disabled", False)
    build(tiny, tokenizer, "sft", tmp_path, cached=False)
    assert "Tokenizing train dataset" in capfd.readouterr().err
    build(tiny, tokenizer, "sft", tmp_path)
    assert "dataset" not in capfd.readouterr().err
    assert not are_progress_bars_disabled()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_entries_lie_below_a_home_of_any_name(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path / "homes" / name))
    rows = kept("c" * 64, lambda: Dataset.from_dict({"input_ids": [[1, 2]]}))
    assert rows["input_ids"][:] == [[1, 2]]
    (file,) = (tmp_path / "homes").rglob("*.arrow")
    assert file.parent == tmp_path / "homes" / name / "prepared" / ("c" * 64)
