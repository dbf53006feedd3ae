"""GRPO on the engine: the same prompts, weights and log-probabilities as the trainer's own."""

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from align.adapters.stacked_parent import put_beneath
from align.adapters.tensors import LoraFactors, read_factors
from align.compat.trl_logits import compact_logits
from align.data.splits import load_split
from align.errors import AdapterError, TrainingError
from align.inference import GenerationRequest
from align.inference.engine import BankEngine
from align.inference.options import EngineOptions
from align.methods import METHODS
from align.methods.trainers.rollouts import POLICY, Rollouts
from align.methods.trainers.trainer_inputs import TrainerInputs
from align.precision import choose
from align.recipe import load_recipe
from align.training.train import train

SMOKE = load_recipe("arithmetic-smoke")
STAGE = SMOKE.stages["grpo"].resolve({"beta": 0.0})
ROWS = load_split(SMOKE, "grpo", "train")
OPTIONS = EngineOptions(slots=16, slot_tokens=512)


def shortness(completions, **_):
    return [-float(len(turns[0]["content"])) for turns in completions]


REWARDS = [("shortness", 1.0, shortness)]


@pytest.fixture
def fp32(monkeypatch):
    monkeypatch.setattr(
        "align.methods.trainers.trainer_inputs.precision", lambda: choose("cpu", None, False)
    )


@pytest.fixture
def engine(tiny):
    return BankEngine(tiny, OPTIONS)


@pytest.fixture
def parent(make_adapter):
    return read_factors(make_adapter("parent", 1, r=3, target_modules=["q_proj", "down_proj"]))


@pytest.fixture
def make_trainer(tiny, fp32, tmp_path):
    """A trainer whose adapter has moved away from zero, on a parent or none."""

    def make(rollouts, parent=None, **stage):
        model = tiny.shell()
        if parent is not None:
            put_beneath(model, parent)
        config = STAGE.model_copy(update=stage)
        arguments = (tiny.tokenizer, config, 4, ROWS, tmp_path / "work", 0, REWARDS, rollouts)
        trainer = METHODS["grpo"].trainer(TrainerInputs(model, *arguments))
        torch.manual_seed(5)
        move(trainer)
        return trainer

    return make


def move(trainer, scale=0.1):
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            if "lora_B" in name:
                parameter += torch.randn_like(parameter) * scale


class Counting:
    """An engine that counts what it is given to load."""

    def __init__(self, engine):
        self._engine, self.loads = engine, 0

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def load(self, adapter_id, adapter):
        self.loads += 1
        self._engine.load(adapter_id, adapter)


def prompts(count):
    return [ROWS[at]["prompt"] for at in range(count) for _ in range(2)]


def test_prompts_are_tokenized_as_trl_does(make_trainer, engine):
    rollouts = Rollouts(engine, None)
    trainer = make_trainer(rollouts)
    long = [
        {"role": "system", "content": "Answer in a word."},
        {"role": "user", "content": "Where is Rome?"},
        {"role": "assistant", "content": "Italy"},
        {"role": "user", "content": "And Oslo?"},
    ]
    given = [*prompts(2), long]
    expected, _, _ = trainer._tokenize_prompts(given)
    assert rollouts(given, trainer)["prompt_ids"] == [list(ids) for ids in expected]


def test_the_end_of_turn_is_kept_and_nothing_follows_it(make_trainer, engine):
    rollouts = Rollouts(engine, None)
    trainer = make_trainer(rollouts, max_completion_length=60, temperature=1.0)
    written = rollouts(prompts(12), trainer)
    end = engine.tokenize_chat([{"role": "user", "content": ""}], generate=False)[-2]
    ended = [ids for ids in written["completion_ids"] if end in ids]
    assert all(ids.index(end) == len(ids) - 1 for ids in ended)
    assert all(len(ids) == 60 for ids in written["completion_ids"] if end not in ids)
    assert 0 < len(ended) < 24
    lengths = [len(ids) for ids in written["completion_ids"]]
    assert [len(values) for values in written["logprobs"]] == lengths


@pytest.mark.parametrize("with_parent", [False, True])
@pytest.mark.parametrize("rslora", [False, True])
def test_log_probabilities_are_the_trainers_own(make_trainer, engine, parent, with_parent, rslora):
    beneath = parent if with_parent else None
    rollouts = Rollouts(engine, beneath)
    lora = STAGE.lora.model_copy(update={"use_rslora": rslora})
    trainer = make_trainer(rollouts, beneath, max_completion_length=16, lora=lora)
    ours, theirs = both_log_probabilities(trainer, rollouts(prompts(4), trainer))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def both_log_probabilities(trainer, written):
    """The engine's and the trainer's, of all completion tokens in a row."""
    rows = [
        [*prompt, *rest]
        for prompt, rest in zip(written["prompt_ids"], written["completion_ids"], strict=True)
    ]
    theirs = []
    for ids, rest in zip(rows, written["completion_ids"], strict=True):
        inputs = torch.tensor([ids])
        with torch.no_grad():
            values, *_ = trainer._get_per_token_logps_and_entropies(
                trainer.model, inputs, torch.ones_like(inputs), len(rest)
            )
        theirs.append(values[0].float())
    ours = torch.tensor([value for values in written["logprobs"] for value in values])
    return ours, torch.cat(theirs)


def test_log_probabilities_of_a_warmer_distribution_are_not_claimed(make_trainer, engine):
    rollouts = Rollouts(engine, None)
    written = rollouts(prompts(1), make_trainer(rollouts, temperature=0.7))
    assert written["logprobs"] is None


def beneath_of(model):
    """A random adapter on every attention projection."""
    random = torch.Generator().manual_seed(3)
    factors = LoraFactors()
    for name, module in model.named_modules():
        if name.endswith(("q_proj", "v_proj", "o_proj")):
            a = torch.randn(8, module.in_features, generator=random) * module.in_features**-0.5
            b = torch.randn(module.out_features, 8, generator=random) * 0.02
            factors.modules[name] = (a, b)
    return factors


def test_weights_reach_the_engine_once_for_each_step(make_trainer, engine):
    counting = Counting(engine)
    rollouts = Rollouts(counting, None)
    trainer = make_trainer(rollouts)
    before = rollouts(prompts(2), trainer)
    rollouts(prompts(2), trainer)
    trainer.model.eval()
    rollouts(prompts(2), trainer)
    assert counting.loads == 1
    trainer.model.train()
    trainer.state.global_step += 1
    move(trainer)
    after = rollouts(prompts(2), trainer)
    assert counting.loads == 2
    ours, theirs = both_log_probabilities(trainer, after)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    assert after["completion_ids"] != before["completion_ids"]
    rollouts.close()
    assert engine.loaded == set()


def test_weights_in_the_engine_do_not_move_with_the_trainers(tiny, make_trainer, parent):
    """Not even when they come back into the bank from memory."""
    engine = BankEngine(tiny, replace(OPTIONS, adapters=1, reuse=False))
    engine.load("other", parent)
    rollouts = Rollouts(engine, None)
    trainer = make_trainer(rollouts, temperature=1e-6)
    written = rollouts(prompts(2), trainer)["completion_ids"]
    engine.generate([GenerationRequest([5, 6, 7], "other", 2)])
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    assert rollouts(prompts(2), trainer)["completion_ids"] == written
    trainer.state.global_step += 1
    assert rollouts(prompts(2), trainer)["completion_ids"] != written


def test_completions_follow_from_seed_and_step(make_trainer, engine):
    def draw(step=3, seed=0, evaluate_first=False):
        rollouts = Rollouts(engine, None)
        trainer = make_trainer(rollouts)
        trainer.state.global_step, trainer.args.seed = step, seed
        if evaluate_first:
            trainer.model.eval()
            rollouts(prompts(2), trainer)
        trainer.model.train()
        calls = [rollouts(prompts(2), trainer)["completion_ids"] for _ in range(2)]
        rollouts.close()
        return calls

    first, second = draw()
    assert draw() == draw(evaluate_first=True) == [first, second]
    assert first != second
    assert first[0] != first[1], "completions of one prompt"
    assert draw(step=4)[0] != first
    assert draw(seed=1)[0] != first


def test_weights_learned_are_those_of_trls_own_path(make_trainer, engine, parent):
    """Whoever writes the same completions, bit for bit."""
    rollouts, written = Rollouts(engine, parent), []

    def remember(given, trainer):
        written.append(rollouts(given, trainer))
        return written[-1]

    def replay(prompt_ids, *_):
        one = written[replay.calls]
        replay.calls += 1
        assert [list(ids) for ids in prompt_ids] == one["prompt_ids"]
        return one["completion_ids"], None

    replay.calls = 0
    ours, own = make_trainer(remember, parent), make_trainer(None, parent)
    own._generate_single_turn = replay
    for trainer in (ours, own):
        torch.manual_seed(0)
        with compact_logits():
            trainer.train()
    assert len(written) == replay.calls == 4
    start = make_trainer(None, parent).model.state_dict()
    theirs = own.model.state_dict()
    for name, tensor in ours.model.state_dict().items():
        assert torch.equal(tensor, theirs[name])
        if "lora_B" in name:
            assert not torch.equal(tensor, start[name])


def test_a_resumed_run_equals_an_unbroken_one(
    tiny, engine, make_adapter, tmp_path, fp32, monkeypatch
):
    parent = make_adapter("parent", 1)
    # Nothing is left to TRL's own generation.
    monkeypatch.delattr("trl.GRPOTrainer._generate_single_turn")

    def run(name, to):
        settings = {"steps": 4, "seed": 0, "parent": parent, "rewards": REWARDS}
        return train(tiny, STAGE, ROWS, tmp_path / name, to=to, engine=engine, **settings)

    run("broken", 2)
    one, two = tensors(run("broken", 4)), tensors(run("whole", 4))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert engine.loaded == set()


def tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "published" / "adapter_model.safetensors")


def test_a_run_that_diverges_is_the_trials_fault_alone(tiny, engine, tmp_path, fp32):
    wild = STAGE.model_copy(update={"learning_rate": 1e38})
    with pytest.raises(TrainingError, match="learning rate"):
        train(tiny, wild, ROWS, tmp_path, to=4, steps=4, seed=0, rewards=REWARDS, engine=engine)
    assert engine.loaded == set()
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_that_the_engine_cannot_take_is_no_divergence(tiny, tmp_path, make_trainer):
    engine = BankEngine(tiny, replace(OPTIONS, max_rank=2))
    rollouts = Rollouts(engine, None)
    with pytest.raises(AdapterError, match="max_rank"):
        rollouts(prompts(1), make_trainer(rollouts))
    assert POLICY not in engine.loaded


class Recording:
    """An engine that keeps what it is given to load, and writes nothing."""

    def __init__(self):
        self.loaded = []

    def load(self, adapter_id, adapter):
        self.loaded.append(adapter)

    def unload(self, adapter_id): ...

    def start_anew(self): ...

    def generate(self, requests):
        return []


def test_a_parent_is_stacked_on_the_trainers_device(tiny, parent):
    """Factors are read into a CPU's memory, and the trainer's are on its card."""
    card = torch.device("meta")  # as a card, it takes no product with a tensor in a CPU's memory
    model = get_peft_model(
        copy.deepcopy(tiny.model).to(card), LoraConfig(target_modules=["q_proj"])
    )
    trainer = SimpleNamespace(
        model=model,
        accelerator=SimpleNamespace(device=card),
        state=SimpleNamespace(global_step=0),
        args=SimpleNamespace(seed=0),
    )
    engine = Recording()
    rollouts = Rollouts(engine, parent)
    for step in range(2):
        trainer.state.global_step = step
        rollouts.complete([], trainer)
    for policy in engine.loaded:
        assert {t.device.type for pair in policy.modules.values() for t in pair} == {"meta"}
        assert policy.rank == 3 + 8
    first, second = (policy.modules for policy in engine.loaded)
    untouched = next(name for name in first if "down_proj" in name)
    assert first[untouched][0] is second[untouched][0], "the parent is moved once"
    assert {t.device.type for pair in parent.modules.values() for t in pair} == {"cpu"}


class Small:
    """An engine with memory for `rows` requests at a time."""

    def __init__(self, engine, rows):
        self._engine, self._rows, self.calls = engine, rows, []

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def generate(self, requests):
        self.calls.append(len(requests))
        if len(requests) > self._rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return self._engine.generate(requests)


def test_out_of_memory_fewer_completions_are_written_at_a_time(make_trainer, engine, caplog):
    def written(used):
        rollouts = Rollouts(used, None)
        trainer = make_trainer(rollouts)
        calls = [rollouts(prompts(5), trainer)["completion_ids"] for _ in range(2)]
        rollouts.close()
        return calls

    small = Small(engine, 3)
    assert written(small) == written(engine)
    assert small.calls == [10, 5, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    assert "going on with 5 at a time" in caplog.text and "with 2 at a time" in caplog.text


def test_an_engine_without_memory_for_one_completion_is_not_the_micro_batchs_fault(
    tiny, engine, tmp_path, fp32
):
    settings = {"to": 2, "steps": 2, "seed": 0, "rewards": REWARDS}
    with pytest.raises(
        TrainingError, match=r"step 1: .*engine.*single completion.*max_completion_length"
    ):
        train(tiny, STAGE, ROWS, tmp_path, engine=Small(engine, 0), **settings)
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_the_engine_are_not_tried_again(make_trainer, engine, monkeypatch):
    def broken(_requests):
        raise RuntimeError("CUDA error: device-side assert triggered")

    rollouts = Rollouts(engine, None)
    trainer = make_trainer(rollouts)
    monkeypatch.setattr(engine, "generate", broken)
    with pytest.raises(RuntimeError, match="device-side assert"):
        rollouts(prompts(1), trainer)
