"""A trial that needs no torch: its objective is a known function of its parameters.

`behaviour.json` in the home folder tells it what to do: `{"sleep": seconds a milestone,
"nan": [numbers], "crash": [numbers], "die": [numbers], "data_error": true}`.
"""

import json
import math
import os
import time
from dataclasses import replace
from pathlib import Path

from align.adapter import Manifest, adapter_id, write_manifest
from align.errors import DataError, TrainingError

CALLS = "calls.jsonl"


def objective(params, step, total):
    """Best at learning_rate 1e-3 and large r; grows with training."""
    distance = abs(math.log10(params.get("learning_rate", 1e-3)) + 3)
    return (1.0 - 0.2 * distance + 0.001 * params.get("lora.r", 8)) * step / total


class FakeTrial:
    def __init__(self, recipe, stage, params, *, parent, reward_model, folder):
        self._recipe, self._stage, self._params = recipe, stage, params
        self._parent, self._reward_model, self._folder = parent, reward_model, folder
        self.milestones = (*recipe.stages[stage].sweep.rungs, recipe.steps(stage))
        self._number = int(folder.parent.name.removeprefix("trial_"))
        self._home = Path(os.environ["ALIGNERY_HOME"])
        self._note("open")

    @property
    def step(self):
        steps = [int(one.name.removeprefix("step_")) for one in self._folder.glob("step_*")]
        return max(steps, default=0)

    def advance(self, to):
        behaviour = self._behaviour()
        self._note("advance", to)
        time.sleep(behaviour.get("sleep", 0))
        if behaviour.get("data_error"):
            raise DataError("data.path: column 'answer' is missing")
        if self._number in behaviour.get("training_error", []):
            raise TrainingError("loss is NaN at step 1")
        if self._number in behaviour.get("crash", []):
            raise RuntimeError("shapes do not fit")
        if self._number in behaviour.get("die", []) and self._once("died"):
            os._exit(1)
        (self._folder / f"step_{to:06d}").mkdir(exist_ok=True)
        value = objective(self._params, to, self.milestones[-1])
        if self._number in behaviour.get("nan", []):
            value = math.nan
        return {"objective": value, "step": float(to), "accuracy": value / 2}

    def publish(self, target, metrics):
        self._note("publish")
        target.mkdir(parents=True)
        config = {"r": self._params.get("lora.r", 8), "params": self._params}
        (target / "adapter_config.json").write_text(json.dumps(config))
        seed = f"{self._stage}{self._params}{self._parent}".encode()
        (target / "adapter_model.safetensors").write_bytes(seed)
        manifest = Manifest(
            id=adapter_id(target),
            base=self._recipe.base,
            base_digest="0" * 64,
            line=self._recipe.line(self._stage),
            method=self._recipe.stages[self._stage].method,
            rank=8,
            params=self._params,
            metrics=metrics,
        )
        write_manifest(target, manifest)
        return manifest

    def _behaviour(self):
        file = self._home / "behaviour.json"
        return json.loads(file.read_text()) if file.is_file() else {}

    def _once(self, name):
        marker = self._folder / name
        new = not marker.exists()
        marker.touch()
        return new

    def _note(self, what, step=None):
        parents = [str(one) if one else None for one in (self._parent, self._reward_model)]
        call = {
            "what": what,
            "trial": self._number,
            "step": step,
            "pid": os.getpid(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "parents": parents,
        }
        with (self._home / CALLS).open("a") as file:
            file.write(json.dumps(call) + "\n")


def evaluate(recipe, adapter, *, system, stage, split, reward_model, shots, earlier):
    """A stand-in for evaluate_adapter."""
    from align.stages.evaluation.measures import Evaluation

    if earlier is not None:
        return replace(earlier, reward=[1.0])
    if system == "broken":
        raise DataError("no test split")
    return Evaluation(system=system, split=split, correct=[float(adapter is not None)] * 3)
