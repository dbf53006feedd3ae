"""Trials of all stages: trained, measured, published, each on its parent."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from align.adapters import adapter_id, read_manifest
from align.base import load_base, model_source
from align.data.splits import load_split
from align.errors import DataError
from align.evaluation.evaluate import evaluate_adapter
from align.recipe import load_recipe, parse_recipe
from align.training.trial import Trial

SMOKE = load_recipe("arithmetic-smoke")


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> dict[str, Path]:
    """All four stages at their defaults, each on its parent."""
    folder, done = tmp_path_factory.mktemp("chain"), {}
    for stage in SMOKE.order():
        config = SMOKE.stages[stage]
        trial = Trial(
            SMOKE,
            stage,
            {},
            parent=done.get(config.parent),
            reward_model=done.get(config.reward_model),
            folder=folder / stage,
        )
        reports = [trial.advance(step) for step in trial.milestones]
        assert [report["step"] for report in reports] == list(trial.milestones)
        assert all(report["objective"] == report["objective"] for report in reports)
        trial.publish(folder / "published" / stage, reports[-1])
        done[stage] = folder / "published" / stage
    return done


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_manifests_tell_the_chain(published):
    manifests = {stage: read_manifest(folder) for stage, folder in published.items()}
    for stage, folder in published.items():
        assert manifests[stage].id == adapter_id(folder)
        assert manifests[stage].line == f"arithmetic-smoke/{stage}"
    assert manifests["grpo"].parents == [manifests["dpo"].id, manifests["sft"].id]
    assert manifests["grpo"].reward_model == manifests["reward"].id
    assert [manifests[stage].rank for stage in ("sft", "dpo", "grpo")] == [4, 8, 12]


def test_every_stage_moves_its_adapter_away_from_its_parent(published):
    for stage, parent in (("dpo", "sft"), ("grpo", "dpo"), ("reward", "sft")):
        below, above = tensors(published[parent]), tensors(published[stage])
        name = next(key for key in below if key.endswith("q_proj.lora_B.weight"))
        rank = below[name].shape[1]
        assert torch.equal(above[name][:, :rank], below[name])
        assert above[name][:, rank:].abs().max() > 0


def test_published_reward_model_scores_as_sequence_classification(published):
    """Our scores on the shared base equal plain PEFT on transformers' own classifier."""
    from align.inference.engine import BankEngine

    base = load_base("tiny-random")
    engine = BankEngine(base)
    engine.load("rm", published["reward"])
    rows = load_split(SMOKE, "reward", "test")[:6]
    conversations = [[*row["prompt"], *row["chosen"]] for row in rows]
    got = engine.score(conversations, "rm")
    classifier = AutoModelForSequenceClassification.from_pretrained(
        model_source("tiny-random"), num_labels=1, dtype=torch.float32
    )
    classifier.config.pad_token_id = base.tokenizer.pad_token_id
    model = PeftModel.from_pretrained(classifier, published["reward"]).eval()
    for conversation, score in zip(conversations, got, strict=True):
        ids = torch.tensor([engine.tokenize_chat(conversation, generate=False)])
        with torch.no_grad():
            assert float(model(ids).logits) == pytest.approx(score, abs=0.05)  # bf16 against fp32


def test_final_evaluation_measures_what_each_system_can_do(published):
    chat = evaluate_adapter(
        SMOKE, published["dpo"], system="dpo", stage="dpo", reward_model=published["reward"]
    ).metrics()
    assert {"accuracy", "mean_reward", "pair_accuracy", "length"} <= set(chat)
    judge = evaluate_adapter(SMOKE, published["reward"], system="rm", stage="reward").metrics()
    assert "pair_accuracy" in judge and "accuracy" not in judge
    base = evaluate_adapter(SMOKE, None, system="base", shots=4).metrics()
    assert "accuracy" in base and "mean_reward" in base


def test_a_policy_ranks_pairs_by_likelihood_where_only_a_reward_stage_has_pairs(published):
    stages = {name: one for name, one in SMOKE.stages.items() if name in ("sft", "reward")}
    recipe = SMOKE.model_copy(update={"stages": stages})
    figures = evaluate_adapter(recipe, published["sft"], system="sft", stage="sft").metrics()
    assert 0 <= figures["pair_accuracy"] <= 1


def test_publish_replaces_nothing_by_halves(published, tmp_path):
    trial = Trial(SMOKE, "sft", {}, parent=None, reward_model=None, folder=tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        trial.publish(tmp_path / "target")
    assert not (tmp_path / "target").exists()
    shutil.rmtree(tmp_path / "none", ignore_errors=True)


def test_a_kto_trial_is_trained_measured_and_published(tmp_path):
    """Thumbs alone: no answers to check, no judge."""
    recipe = parse_recipe(
        {
            "name": "thumbs",
            "base": "tiny-random",
            "data": {"task": "arithmetic", "train": 32, "validation": 16, "test": 8},
            "evaluation": {"max_new_tokens": 4},
            "stages": {
                "kto": {
                    "method": "kto",
                    "objective": "label_auc",
                    "learning_rate": 1.0e-3,
                    "max_steps": 3,
                    "per_device_train_batch_size": 4,
                    "max_length": 512,
                }
            },
        }
    )
    trial = Trial(recipe, "kto", {}, parent=None, reward_model=None, folder=tmp_path / "work")
    report = trial.advance(3)
    manifest = trial.publish(tmp_path / "published", report)
    assert 0 <= report["objective"] == report["label_auc"] <= 1
    assert report["kl_per_token"] > 0
    assert (manifest.method, manifest.data["train"].rows) == ("kto", 32)
    assert tensors(tmp_path / "published")


def test_held_out_rows_that_the_template_refuses_are_named_before_training(tmp_path):
    base = tmp_path / "base"
    shutil.copytree(model_source("tiny-random"), base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    refusal = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system') }}{% endif %}"
    )
    tokenizer.chat_template = refusal + tokenizer.chat_template
    tokenizer.save_pretrained(base)
    rows = [[{"role": "user", "content": f"p{n}"}] for n in range(1, 13)]
    answer = {"role": "assistant", "content": "yes"}

    def recipe():
        lines = [json.dumps({"messages": [*row, answer]}) + "\n" for row in rows]
        (tmp_path / "rows.jsonl").write_text("".join(lines))
        stage = {"method": "sft", "objective": "nll", "learning_rate": 1e-4, "max_steps": 1}
        data = {"path": str(tmp_path / "rows.jsonl"), "train": 6, "validation": 3, "test": 3}
        return parse_recipe(
            {"name": "m", "base": str(base), "data": data, "stages": {"sft": stage}}
        )

    number = load_split(recipe(), "sft", "test")[0].number
    # The system turn is part of the prompt, whose hash decides the split; any split is checked.
    rows[number - 1].insert(0, {"role": "system", "content": "be brief"})
    trial = Trial(recipe(), "sft", {}, parent=None, reward_model=None, folder=tmp_path / "trial")
    with pytest.raises(DataError, match=f"row {number}: No system"):
        trial.advance(1)
    assert trial.step == 0
