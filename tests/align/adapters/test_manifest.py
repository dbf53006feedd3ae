"""What is known of a published adapter, and what its id depends on."""

import json

import pytest

from align.adapters import adapter_id, read_manifest, write_manifest
from align.errors import AdapterError
from align.evaluation.examples import read_examples
from align.recipe import load_recipe, parse_recipe
from align.training.model_card import write_card
from align.training.trial import Trial

SMOKE = load_recipe("arithmetic-smoke")


def run(stage, folder, parent=None, reward_model=None):
    """A whole trial at its defaults, published: (metrics of its last milestone, folder)."""
    trial = Trial(
        SMOKE, stage, {}, parent=parent, reward_model=reward_model, folder=folder / "work"
    )
    for step in trial.milestones:
        metrics = trial.advance(step)
    # As another worker would, which has the folder alone.
    again = Trial(
        SMOKE, stage, {}, parent=parent, reward_model=reward_model, folder=folder / "work"
    )
    again.publish(folder / "published", metrics)
    return metrics, folder / "published"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """SFT, its reward model, and GRPO on both, once for all tests."""
    folder = tmp_path_factory.mktemp("chain")
    sft = run("sft", folder / "sft")
    reward = run("reward", folder / "reward", sft[1])
    grpo = run("grpo", folder / "grpo", sft[1], reward[1])
    return {"sft": sft, "reward": reward, "grpo": grpo}


def plain(metrics):
    return {name: value for name, value in metrics.items() if not name.startswith("seconds")}


def test_trial_parent_and_base_stand_side_by_side(made):
    metrics, folder = made["grpo"]
    manifest = read_manifest(folder)
    assert manifest.metrics == metrics
    for measure in ("accuracy", "mean_reward", "reward/reward_model", "length", "tokens"):
        assert {measure} <= set(metrics) & set(manifest.parent_metrics) & set(manifest.base_metrics)
        gain = manifest.against_parent[measure]
        assert gain.difference == pytest.approx(metrics[measure] - manifest.parent_metrics[measure])
        assert gain.items == 8
        if gain.low is None:  # the eight answers are alike
            assert gain.high is None and measure != "accuracy"
        else:
            assert gain.low <= gain.difference <= gain.high
    assert {"win_rate", "kl_per_token", "train/frac_reward_zero_std"} <= set(metrics)
    assert "win_rate" not in manifest.base_metrics  # it is said against the parent
    sft = read_manifest(made["sft"][1])
    assert sft.parent_metrics == sft.base_metrics  # its parent is the base
    assert {"nll", "accuracy", "kl_per_token"} <= set(sft.metrics)


def test_a_reward_model_stands_beside_what_its_parent_finds_likelier(made):
    manifest = read_manifest(made["reward"][1])
    assert {"pair_accuracy", "margin", "longer_rule", "chosen_mean"} <= set(manifest.metrics)
    assert "pair_accuracy" in manifest.against_parent
    assert "margin" not in manifest.against_parent  # scores and log-probabilities


def test_where_it_came_from(made):
    sft, grpo = (read_manifest(made[name][1]) for name in ("sft", "grpo"))
    assert grpo.parents == [sft.id] and grpo.parent_lines == ["arithmetic-smoke/sft"]
    assert grpo.reward_model == read_manifest(made["reward"][1]).id
    assert {name: one.rows for name, one in grpo.data.items()} == {
        "train": 32, "validation": 8, "test": 16,
    }  # fmt: skip
    assert len({one.fingerprint for one in grpo.data.values()}) == 3
    assert grpo.data["train"].fingerprint == grpo.data_fingerprint
    assert len(grpo.tokenizer_digest) == len(grpo.template_digest) == 64
    assert set(grpo.versions) >= {"python", "torch", "trl", "peft", "datasets", "alignery"}
    assert grpo.stage["learning_rate"] == 1e-3 and grpo.seed == 0
    assert grpo.wall_seconds > 0 and grpo.training["per_device_train_batch_size"] == 4
    assert "stack_difference" in grpo.training


def test_rows_and_card_lie_beside_it(made):
    metrics, folder = made["sft"]
    rows = read_examples(folder)
    answers = [one for one in rows if one.items == "answers"]
    assert len(answers) == 8 and {one.split for one in rows} == {"validation"}
    mean = sum(one.numbers["length"] for one in answers) / 8
    assert mean == pytest.approx(metrics["length"])
    card = (folder / "README.md").read_text()
    assert "# arithmetic-smoke/sft" in card and "answer length, characters" in card


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_same_seed_same_machine_same_metrics(made, home, tmp_path, stage):
    above = (made["sft"][1], made["reward"][1]) if stage == "grpo" else ()
    metrics, folder = run(stage, tmp_path, *above)  # and nothing kept on disk, in an empty home
    assert plain(metrics) == plain(made[stage][0])
    assert adapter_id(folder) == adapter_id(made[stage][1])
    assert read_examples(folder) == read_examples(made[stage][1])


def test_the_id_is_of_tensors_and_config_alone(made, tmp_path):
    from shutil import copytree

    folder = copytree(made["sft"][1], tmp_path / "copy")
    before = adapter_id(folder)
    manifest = read_manifest(folder)
    changed = manifest.model_copy(update={"metrics": {}, "line": "other/line"})
    write_manifest(folder, changed)
    write_card(folder, changed)
    (folder / "evaluation.jsonl").unlink()
    assert adapter_id(folder) == before
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "base_model_name_or_path": "/elsewhere"}, indent=1))
    assert adapter_id(folder) == before
    file.write_text(json.dumps({**config, "r": config["r"] + 1}))
    assert adapter_id(folder) != before


def test_manifests_of_earlier_versions_are_read(tmp_path):
    old = {
        "id": "a", "base": "tiny-random", "base_digest": "b", "line": "a/b", "method": "sft",
        "rank": 4, "parents": ["c"], "metrics": {"accuracy": 0.5}, "data_fingerprint": "d",
        "seconds": 1.5, "versions": {"torch": "2.13.0"}, "created_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    read = read_manifest(tmp_path)
    assert read.parents == ["c"] and read.base_metrics == {} and read.code_commit is None
    (tmp_path / "manifest.json").write_text(json.dumps({**old, "typo": 1}))
    with pytest.raises(AdapterError, match="damaged manifest"):
        read_manifest(tmp_path)


FAILING = """
def words(prompt, completion):
    if prompt[-1]["content"].startswith(("A", "B", "C", "D", "E", "F")):
        raise ValueError("no good letter")
    return float(len(completion.split()))
"""


def test_rewards_that_gave_no_number_are_counted_and_shown(tmp_path):
    (tmp_path / "mine.py").write_text(FAILING)
    raw = SMOKE.model_dump(mode="json")
    stage = raw["stages"]["grpo"] | {"parent": None, "reward_model": None}
    stage["rewards"] = {"brevity": 1.0, "mine": {"weight": 1.0, "python": "mine:words"}}
    recipe = parse_recipe({**raw, "stages": {"grpo": stage}}, folder=tmp_path)
    trial = Trial(recipe, "grpo", {}, parent=None, reward_model=None, folder=tmp_path / "work")
    counts = []
    for step in trial.milestones:
        metrics = trial.advance(step)
        trial.publish(tmp_path / "published", metrics)
        counts.append(read_manifest(tmp_path / "published").reward_failures)
    assert 0 < counts[0] < counts[1]  # of training and measuring, over both segments
    first = read_manifest(tmp_path / "published").reward_failure_examples[0]
    assert first["reward"] == "mine" and "no good letter" in first["error"] and "text" in first
    assert "gave no number" in (tmp_path / "published" / "README.md").read_text()
    assert 0 <= metrics["reward/mine"] < 10  # over the answers that it did score
