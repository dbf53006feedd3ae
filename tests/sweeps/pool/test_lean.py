"""Workers that do without Ray Tune, and what Tune's controller sees of them."""

import subprocess
import sys
from types import SimpleNamespace

from sweeps.pool.actor import Actor


class Counting(Actor):
    def setup(self, config):
        self.config, self.left = config, False

    def reset_config(self, new_config):
        self.config = new_config
        return True

    def step(self):
        return {"milestone": self.config["job"]}

    def cleanup(self):
        self.left = True


def test_an_actor_answers_as_a_trainable_does():
    actor = Counting({"job": "first"})
    first, second = actor.train(), actor.train()
    assert first["milestone"] == "first" and first["done"] is False
    assert [first["training_iteration"], second["training_iteration"]] == [1, 2]
    assert first["time_this_iter_s"] >= 0
    assert actor.reset({"job": "second"}) is True
    again = actor.train()
    assert (again["milestone"], again["training_iteration"]) == ("second", 1)
    actor.stop()
    assert actor.left


def test_only_our_configuration_reaches_a_worker(monkeypatch):
    from sweeps.pool import lean

    monkeypatch.setattr(lean.ray, "remote", lambda kind: f"remote {kind.__name__}")
    added, scheduled = [], []
    controller = SimpleNamespace(
        _class_cache=None,
        _actor_manager=SimpleNamespace(add_actor=lambda **given: added.append(given)),
        _schedule_trial_task=lambda *given, **more: scheduled.append((given, more)),
    )
    lean.without_tune(controller, Counting)
    assert controller._class_cache.get("whatever Tune has") == "remote Counting"
    config = {"stage": "sft", "job": "{}", "assignment": "{}", "__trial_info__": object()}
    ours = {"stage": "sft", "job": "{}", "assignment": "{}"}
    controller._actor_manager.add_actor(
        cls="remote", kwargs={"config": config, "storage": object()}
    )
    assert added == [{"cls": "remote", "kwargs": {"config": ours}}]
    controller._schedule_trial_task(
        trial="t", method_name="reset", args=(config,), kwargs={"storage": object()}
    )
    controller._schedule_trial_task(trial="t", method_name="train", args=())
    assert scheduled[0] == (("t", "reset"), {"args": (ours,), "kwargs": {}})
    assert scheduled[1] == (("t", "train"), {"args": ()})


def test_a_worker_needs_no_ray_tune():
    code = "import sweeps.pool.trainable, sys; assert 'ray.tune' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
