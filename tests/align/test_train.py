"""A stage's training: resumes exactly, leaves the base alone, publishes what it measured."""

import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from align.adapter import adapter_id, read_manifest
from align.base import load_base, model_source
from align.errors import TrainingError
from align.recipe import load_recipe
from align.stages.compact import compact_logits
from align.stages.data import load_split
from align.stages.evaluate import evaluate_adapter
from align.stages.job import Job
from align.stages.train import newest_checkpoint, train
from align.stages.trial import Trial

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


@pytest.mark.parametrize("stage", ["sft", "reward", "dpo"])
def test_a_resumed_run_equals_an_unbroken_one(published, tmp_path, stage):
    config, base = SMOKE.stages[stage].resolve(), load_base(SMOKE.base)
    rows = load_split(SMOKE, stage, "train")
    parent = None if stage == "sft" else published["sft"]
    arguments = {"steps": 4, "seed": 0, "parent": parent}
    losses: dict[str, list[float]] = {"broken": [], "whole": []}

    def keep(name):
        return lambda step, logs: losses[name].append(logs["loss"])

    train(base, config, rows, tmp_path / "b", to=2, on_step=keep("broken"), **arguments)
    assert newest_checkpoint(tmp_path / "b")[0] == 2
    broken = train(base, config, rows, tmp_path / "b", to=4, on_step=keep("broken"), **arguments)
    whole = train(base, config, rows, tmp_path / "w", to=4, on_step=keep("whole"), **arguments)
    assert losses["broken"] == pytest.approx(losses["whole"], abs=1e-6)
    one, two = tensors(broken / "published"), tensors(whole / "published")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-6)


def test_training_leaves_the_base_untouched(tmp_path):
    base = load_base(SMOKE.base)
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    ids = torch.arange(20)[None]
    with torch.no_grad():
        logits = base.model(ids).logits
    config, rows = SMOKE.stages["sft"].resolve(), load_split(SMOKE, "sft", "train")
    train(base, config, rows, tmp_path, to=1, steps=4, seed=0)
    assert all(torch.equal(before[name], t) for name, t in base.model.state_dict().items())
    assert not any("lora" in name for name, _ in base.model.named_modules())
    with torch.no_grad():
        assert torch.equal(base.model(ids).logits, logits)


def test_nothing_is_left_of_a_run_that_diverged(tmp_path):
    base = load_base(SMOKE.base)
    config = SMOKE.stages["sft"].resolve().model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match="learning rate"):
        rows = load_split(SMOKE, "sft", "train")
        train(base, config, rows, tmp_path, to=4, steps=4, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_a_partial_checkpoint_is_never_taken_for_a_whole_one(tmp_path):
    (tmp_path / ".work-1" / "checkpoint-3").mkdir(parents=True)
    assert newest_checkpoint(tmp_path) == (0, None)


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_compact_logits_give_the_same_losses(tmp_path, stage):
    base, config = load_base(SMOKE.base), SMOKE.stages[stage].resolve()
    rows, losses = load_split(SMOKE, stage, "train")[:4], []
    for compact in (False, True):
        from align.stages import dpo, sft

        torch.manual_seed(0)
        job = Job(base.shell(), base.tokenizer, config, 2, rows, tmp_path / str(compact), seed=0)
        trainer = (sft if stage == "sft" else dpo).build(job)
        batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
        if compact:
            with compact_logits():
                losses.append(float(trainer.compute_loss(trainer.model, batch)))
        else:
            losses.append(float(trainer.compute_loss(trainer.model, batch)))
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)


def test_publish_replaces_nothing_by_halves(published, tmp_path):
    trial = Trial(SMOKE, "sft", {}, parent=None, reward_model=None, folder=tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        trial.publish(tmp_path / "target")
    assert not (tmp_path / "target").exists()
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
