"""Recordings of whole trainings become learning curves."""

import json
import math

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.rungs.recordings import SAMPLES, read_recordings


def recording(stage, kinds, test, sampled=None):
    points = {}
    for step in (5, 15):
        point = {f"validation/{kind}": sets for kind, sets in kinds.items()}
        point["took"] = dict.fromkeys(point, 3.04)
        if sampled is not None:
            point["sampled"] = sampled
            point["took"]["sampled"] = 7.0
        points[str(step)] = point
    points["15"].update(test)
    return {"job": stage, "stage": stage, "params": {"learning_rate": 1e-3}, "points": points}


def answers(correct, keys="ab", **more):
    return {"answers": {"keys": list(keys), "accuracy": correct, "length": [9.0, 8.0], **more}}


def write(folder, name, content):
    (folder / f"{name}.json").write_text(json.dumps(content))


def sft(correct, keys="ab"):
    nll = {"completions": {"keys": ["c"], "nll": [0.1234567]}}
    kinds = {"answers": answers(correct, keys), "nll": nll}
    return recording("sft", kinds, {"test/answers": answers([1.0, 0.0])})


def test_what_a_rung_could_use_is_taken_and_rounded(tmp_path):
    for number in (0, 1):
        write(tmp_path, f"sft-{number}", sft([float(number), 1.0]))
    [stage] = read_recordings(tmp_path)
    assert (stage.stage, stage.steps) == ("sft", [5, 15])
    point = stage.curves[1].points[5]
    assert point.values == {"accuracy": [1.0, 1.0], "nll": [0.12346]}
    assert point.seconds == {"accuracy": 3.0, "nll": 3.0}
    assert stage.unseen(0) == 0.5


def test_configurations_stand_in_the_order_of_their_numbers(tmp_path):
    for number in (2, 10, 0):
        write(tmp_path, f"sft-{number}", {**sft([0.0, 1.0]), "params": {"learning_rate": number}})
    [stage] = read_recordings(tmp_path)
    assert [curve.params["learning_rate"] for curve in stage.curves] == [0, 2, 10]


def test_pair_loss_is_of_the_score_margin(tmp_path):
    pairs = {"pairs": {"keys": ["p"], "pair_accuracy": [1.0], "margin": [0.0]}}
    for number in (0, 1):
        write(
            tmp_path,
            f"reward-{number}",
            recording("reward", {"pairs": pairs}, {"test/pairs": pairs}),
        )
    [stage] = read_recordings(tmp_path)
    assert stage.curves[0].points[5].values["pair_loss"] == [0.69315]  # log 2


def test_sampled_rewards_are_means_of_a_prompt_weighted_as_in_the_recipe(tmp_path):
    parts = {
        "correctness": [1.0] * SAMPLES + [0.0] * SAMPLES,
        "brevity": [0.5] * (2 * SAMPLES - 1) + [math.nan],
        "reward_model": [0.0] * (2 * SAMPLES),
    }
    greedy = answers([1.0, 0.0], mean_reward=[1.1, 0.1])
    content = recording("grpo", {"answers": greedy}, {"test/answers": greedy}, parts)
    for number in (0, 1):
        write(tmp_path, f"grpo-{number}", content)
    [stage] = read_recordings(tmp_path)
    assert stage.curves[0].points[5].values["sampled_reward"] == [1.1, 0.0875]
    assert stage.unseen(0) == pytest.approx(0.6)


def test_other_items_are_refused(tmp_path):
    write(tmp_path, "sft-0", sft([0.0, 1.0]))
    write(tmp_path, "sft-1", sft([0.0, 1.0], keys="az"))
    with pytest.raises(BenchmarkError, match=r"sft-1.json: measured on other items"):
        read_recordings(tmp_path)


def test_a_single_recording_is_no_stage(tmp_path):
    write(tmp_path, "sft-0", sft([0.0, 1.0]))
    (tmp_path / "sft-1.part").write_text("{")
    with pytest.raises(BenchmarkError, match="no stage with two recordings"):
        read_recordings(tmp_path)
