"""A trial that needs no torch: its objective is a known function of its parameters.

`behaviour.json` in the home folder tells it what to do: `{"sleep": seconds a milestone,
"waits_for": {"stage/number", or a stage for all its trials: name of a file}, "nan": [numbers],
"training_error": [numbers], "crash": [numbers, at every attempt], "crash_once": [numbers],
"lose_gpu_once": [numbers], "die": [numbers, once], "die_always": [numbers], "data_error": true,
"violation": {number: by how much constraints are broken}, "luck": {number: added to the objective
on validation items alone},
"unseen": {name of a finalist: its objective}, "unseen_crash_once": [names], "unseen_error": true}`.

What waits does so at each milestone, until the file is in the home folder. Each trial that opens
makes one, `opened-stage` and `opened-stage-number`, so that trials can wait for each other.
"""

import json
import math
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from align.adapters import Manifest, adapter_id, write_manifest
from align.errors import DataError, TrainingError
from align.evaluation.examples import EXAMPLES, Example

CALLS = "calls.jsonl"
#: A device error, as torch raises it: every later call of CUDA in the process raises it, too.
DEVICE_ERROR = RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be")
lost_gpu = False
#: Seconds after which what is waited for will never come.
PATIENCE = 600


def lose_gpu():
    """From now on, what this process computes fails."""
    global lost_gpu
    lost_gpu = True


def objective(params, step, total):
    """Best at learning_rate 1e-3 and large r; grows with training."""
    distance = abs(math.log10(params.get("learning_rate", 1e-3)) + 3)
    return (1.0 - 0.2 * distance + 0.001 * params.get("lora.r", 8)) * step / total


class FakeTrial:
    def __init__(self, recipe, stage, params, *, parent, reward_model, folder, on_checkpoint=None):
        self._recipe, self._stage, self._params = recipe, stage, params
        self._parent, self._reward_model, self._folder = parent, reward_model, folder
        self.milestones = (*recipe.stages[stage].sweep.rungs, recipe.steps(stage))
        self._number = int(folder.parent.name.removeprefix("trial_"))
        self._home = Path(os.environ["ALIGNERY_HOME"])
        self._note("open")
        for name in (stage, f"{stage}-{self._number}"):
            (self._home / f"opened-{name}").touch()

    @property
    def step(self):
        steps = [int(one.name.removeprefix("step_")) for one in self._folder.glob("step_*")]
        return max(steps, default=0)

    def advance(self, to):
        behaviour = self._behaviour()
        self._note("advance", to)
        time.sleep(behaviour.get("sleep", 0))
        self._wait(behaviour.get("waits_for", {}))
        if behaviour.get("data_error"):
            raise DataError("data.path: column 'answer' is missing")
        if self._number in behaviour.get("training_error", []):
            raise TrainingError("loss is NaN at step 1")
        if self._number in behaviour.get("crash", []):
            raise RuntimeError("shapes do not fit")
        if self._number in behaviour.get("crash_once", []) and self._once("crashed"):
            raise RuntimeError("a hiccup")
        if self._number in behaviour.get("lose_gpu_once", []) and self._once("lost"):
            lose_gpu()
        if lost_gpu:
            # As where code reports every failure of a step as the trial's own.
            raise TrainingError("step 1: the trained weights are not finite") from DEVICE_ERROR
        if self._number in behaviour.get("die", []) and self._once("died"):
            os._exit(1)
        if self._number in behaviour.get("die_always", []):
            os.kill(os.getpid(), signal.SIGKILL)
        (self._folder / f"step_{to:06d}").mkdir(exist_ok=True)
        value = objective(self._params, to, self.milestones[-1])
        if self._number in behaviour.get("nan", []):
            value = math.nan
        found = {"objective": value + behaviour.get("luck", {}).get(str(self._number), 0.0)}
        if str(self._number) in (broken := behaviour.get("violation", {})):
            found["violation"] = broken[str(self._number)]
        return {**found, "step": float(to), "accuracy": value / 2, "seconds_load": 0.0}

    def rung_values(self):
        return {}

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

    def _wait(self, names):
        own = names.get(f"{self._stage}/{self._number}", names.get(self._stage))
        until = time.monotonic() + PATIENCE
        while own is not None and not (self._home / own).exists():
            if time.monotonic() > until:
                raise RuntimeError(f"{own} never came")
            time.sleep(0.02)

    def _once(self, name):
        marker = self._folder / name
        new = not marker.exists()
        marker.touch()
        return new

    def _note(self, what, step=None):
        parents = [str(one) if one else None for one in (self._parent, self._reward_model)]
        call = {
            "what": what,
            "stage": self._stage,
            "at": time.time(),
            "trial": self._number,
            "step": step,
            "pid": os.getpid(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "parents": parents,
        }
        with (self._home / CALLS).open("a") as file:
            file.write(json.dumps(call) + "\n")


ITEMS = 20


def measure_unseen(recipe, stage, params, adapter, *, parent, reward_model, target=None):
    """A stand-in for align.training.test_evaluation.measure_unseen."""
    home = Path(os.environ["ALIGNERY_HOME"])
    file = home / "behaviour.json"
    behaviour = json.loads(file.read_text()) if file.is_file() else {}
    if adapter is None:
        name = "base"
    elif adapter == parent:
        name = "parent"
    else:
        name = adapter.parent.name
    if behaviour.get("unseen_error"):
        raise DataError("data.path: no rows are left for the test split")
    with (home / CALLS).open("a") as calls:
        call = {"what": "unseen", "stage": stage, "name": name, "pid": os.getpid()}
        calls.write(json.dumps({**call, "at": time.time()}) + "\n")
    if name in behaviour.get("unseen_crash_once", []) and not (home / f"{name}.crashed").exists():
        (home / f"{name}.crashed").touch()
        raise RuntimeError("a hiccup")
    mean = {"base": 0.1, "parent": 0.2}.get(name, objective(params, 1, 1))
    mean = behaviour.get("unseen", {}).get(name, mean)
    if target is not None:
        rows = [
            Example("answers", str(at), "test", f"question {at}", numbers={"accuracy": mean})
            for at in range(ITEMS)
        ]
        text = "".join(json.dumps(vars(one)) + "\n" for one in rows)
        (target / EXAMPLES).write_text(text)
    return {"objective": mean, "accuracy": mean}


def evaluate(recipe, adapter, *, system, stage, split, reward_model, shots, earlier):
    """A stand-in for evaluate_adapter."""
    from align.evaluation.metrics import Evaluation

    if earlier is not None:
        return replace(earlier, reward=[1.0])
    marker = Path(os.environ["ALIGNERY_HOME"]) / "lost"
    if system == "lost once" and not marker.exists():
        marker.touch()
        raise DataError("the rows cannot be read") from DEVICE_ERROR
    if system == "broken":
        raise DataError("no test split")
    return Evaluation(system=system, split=split, correct=[float(adapter is not None)] * 3)
