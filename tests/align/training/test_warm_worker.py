"""What a worker loads once for all its trials, and that it keeps nothing more than that."""

import gc
import shutil
from pathlib import Path

import pytest
import torch
from trl import DPOTrainer

from align import artifact_cache, digests
from align.data import row_tokens
from align.evaluation import systems
from align.methods.trainers import prepared
from align.recipe import load_recipe, parse_recipe
from align.training import parents
from align.training.trial import Trial

SMOKE = load_recipe("arithmetic-smoke")


@pytest.fixture
def forgotten(home):
    """A home and a process that know nothing yet."""

    def forget():
        for one in (digests._DIGESTS, row_tokens._KNOWN, prepared._OPEN, parents._FACTORS):
            one.clear()

    forget()
    return forget


@pytest.fixture
def counted(monkeypatch) -> dict[str, int]:
    """How often the heavy parts were done."""
    calls: dict[str, int] = {}

    def count(owner, name):
        whole = getattr(owner, name)

        def called(*arguments, **options):
            calls[name] = calls.get(name, 0) + 1
            return whole(*arguments, **options)

        monkeypatch.setattr(owner, name, called)

    for owner, name in (
        (digests, "_rules"),
        (row_tokens, "_measure"),
        (prepared, "_made"),
        (parents, "read_factors"),
        (DPOTrainer, "compute_ref_log_probs"),
    ):
        count(owner, name)
    return calls


def trial(stage, folder, parent=None, judge=None, recipe=SMOKE, **options):
    params = {"learning_rate": 2e-3}
    return Trial(recipe, stage, params, parent=parent, reward_model=judge, folder=folder, **options)


def test_a_second_trial_prepares_nothing_again(forgotten, counted, make_adapter, tmp_path):
    parent = make_adapter("parent", 1)
    first = trial("dpo", tmp_path / "one", parent).advance(2)
    assert all(counted[name] for name in ("_rules", "_measure", "_made", "read_factors"))
    assert counted.pop("compute_ref_log_probs") == 2
    counted.clear()
    second = trial("dpo", tmp_path / "two", parent).advance(2)
    assert counted == {}
    assert second["objective"] == first["objective"]
    for metrics in (first, second):
        assert all(metrics[f"seconds_{part}"] > 0 for part in ("load", "train", "evaluate"))


class Folder:
    """A shelf that every machine sees."""

    def __init__(self, root: Path):
        self.root = root

    def fetch(self, kind, key, target):
        source = self.root / kind / key
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.is_file():
            shutil.copy(source, target)
        return source.exists()

    def offer(self, kind, key, path):
        target = self.root / kind / key
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, target)


def test_another_machine_takes_what_is_on_the_shelf(
    forgotten, counted, home, make_adapter, tmp_path, monkeypatch
):
    monkeypatch.setattr(artifact_cache, "_shelf", Folder(tmp_path / "shelf"))
    parent = make_adapter("parent", 1)
    first = trial("dpo", tmp_path / "one", parent).advance(4)
    assert {one.name for one in (tmp_path / "shelf").iterdir()} == {
        "prepared", "reference", "evaluations",
    }  # fmt: skip
    other = tmp_path / "other"
    other.mkdir()
    (other / "models").symlink_to(home / "models")
    monkeypatch.setenv("ALIGNERY_HOME", str(other))
    forgotten()
    counted.clear()
    asked = []
    for name in ("answers", "log_probabilities"):
        monkeypatch.setattr(systems.Systems, name, _told(asked, getattr(systems.Systems, name)))
    second = trial("dpo", tmp_path / "two", parent).advance(4)
    assert not {"_made", "compute_ref_log_probs"} & counted.keys()
    assert {adapter for adapter, computed in asked if computed} == {"published"}
    same = {name for name in first if not name.startswith("seconds")}
    assert {name: second[name] for name in same} == {name: first[name] for name in same}


def _told(asked, whole):
    """Note of which adapter something was asked, and whether it had to be computed."""

    def called(self, adapter, *arguments, **options):
        before = self._engine
        seen = []

        class Watched:
            def __getattr__(self, name):
                if name in ("generate", "log_probabilities"):
                    seen.append(name)
                return getattr(before, name)

        self._engine = Watched()
        try:
            return whole(self, adapter, *arguments, **options)
        finally:
            self._engine = before
            asked.append((adapter and adapter.name, bool(seen)))

    return called


def test_checkpoints_between_milestones_are_told(home, tmp_path):
    raw = SMOKE.model_dump(mode="json")
    raw["stages"]["sft"] |= {"save_steps": 1, "max_steps": 5}
    raw["stages"]["sft"]["sweep"]["rungs"] = [3]
    told = []

    def there(step):
        told.append((step, (tmp_path / "trial" / f"step_{step:06d}").is_dir()))

    one = trial("sft", tmp_path / "trial", recipe=parse_recipe(raw), on_checkpoint=there)
    one.advance(3)
    one.advance(5)
    assert told == [(1, True), (2, True), (4, True)]


def floor() -> tuple[int, int]:
    """Live tensors and their bytes, frozen ones too."""
    gc.unfreeze()
    gc.collect()
    found = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
    # The engine's packed weights show no storage.
    plain = [one for one in found if one.layout is torch.strided and one.device.type != "meta"]
    real = [one.untyped_storage() for one in plain]
    return len(found), sum({one.data_ptr(): one.nbytes() for one in real}.values())


def rounds(folder: Path, again) -> None:
    """One trial of each method, and what `again` measures after each of a second round."""
    known: dict[str, Path] = {}
    above = {"reward": "sft", "dpo": "sft", "grpo": "dpo"}
    for number in range(2):
        for stage in SMOKE.stages:
            judge = known["reward"] if stage == "grpo" else None
            one = trial(stage, folder / f"{stage}-{number}", known.get(above.get(stage)), judge)
            one.advance(2)
            if number == 0:
                known[stage] = folder / stage
                one.publish(known[stage])
            del one
            again(number, stage)


def test_memory_is_back_at_its_floor_between_trials(forgotten, tmp_path):
    found: dict[int, list[tuple[int, int]]] = {0: [], 1: []}
    rounds(tmp_path, lambda number, _: found[number].append(floor()))
    after = found[0][-1]  # everything is loaded: the base, the engine, parents and judge
    # Which two parents are remembered changes; each is some 20 KB of this tiny base.
    for tensors, held in found[1]:
        assert tensors <= after[0]
        assert held <= after[1] + 64 * 1024
    assert found[1][-1] == after


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_memory_is_back_at_its_floor_between_trials(forgotten, tmp_path):
    found: dict[int, list[tuple[int, int]]] = {0: [], 1: []}

    def measure(number, _):
        gc.collect()
        torch.cuda.empty_cache()  # what stays reserved is in use, or in the pool of CUDA graphs
        found[number].append((torch.cuda.memory_allocated(), torch.cuda.memory_reserved()))

    rounds(tmp_path, measure)
    allocated, reserved = found[0][-1]
    assert max(one for one, _ in found[1]) <= allocated + 2**20
    assert max(one for _, one in found[1]) <= reserved + 2**22


def test_an_engine_keeps_the_last_adapters_that_were_measured(home, make_adapter):
    recipe = SMOKE.model_copy(deep=True)
    many = [make_adapter(f"parent-{n}", n) for n in range(systems.MOST_LOADED + 2)]
    engine = systems.shared_engine("tiny-random")
    for one in many:
        systems.Systems(recipe, None, (None, one)).log_probabilities(one, [([1], [2])])
    assert not {str(one) for one in many[:2]} & engine.loaded
    assert {str(one) for one in many[2:]} <= engine.loaded
    for one in many:
        systems.Systems(recipe, None, ()).forget(one)
    assert not {str(one) for one in many} & engine.loaded
