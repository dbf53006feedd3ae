"""What cannot be served is refused in one line, and what is under way goes on undisturbed."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from align.adapters import Manifest, write_manifest
from align.adapters.tensors import LoraFactors
from align.base import load_base
from align.errors import AdapterError, RequestError
from align.inference import EngineOptions, GenerationRequest
from align.inference.engine import BankEngine
from tests.align.inference.tiny_families import in_dtype, random_adapter, random_base, random_tokens
from tests.waiting import step_until

OPTIONS = EngineOptions(slots=4, slot_tokens=64, adapters=2, max_rank=8, chunk_tokens=8)
TENSORS = "adapter_model.safetensors"
PROMPT = random_tokens(1, 21)


class Flight:
    """Requests under way, and what they write when nothing comes between."""

    def __init__(self, tiny, folder):
        self.requests = [
            GenerationRequest(PROMPT[at:], adapter, 14, ignore_eos=True)
            for at, adapter in enumerate((None, "good", None, "good", "good"))
        ]
        self.engine, alone = BankEngine(tiny, OPTIONS), BankEngine(tiny, OPTIONS)
        self.engine.load("good", folder)
        alone.load("good", folder)
        self.expected = [one.token_ids for one in alone.generate(self.requests)]
        self.sequences = [self.engine.submit(one)[0] for one in self.requests]
        for _ in range(5):
            self.engine.step()

    def lands(self):
        """The rest of the way; nothing else may be written meanwhile."""
        done = {}

        def step():
            for update in self.engine.step():
                if update.done:
                    done[update.sequence] = update.completion

        step_until(lambda: not self.engine.busy, step)
        assert [done.pop(one).token_ids for one in self.sequences] == self.expected
        for refused in done.values():
            assert (refused.finish_reason, refused.token_ids) == ("cancelled", [])
        assert self.engine.loaded == {"good"}


@pytest.fixture
def flight(tiny, make_adapter):
    flight = Flight(tiny, make_adapter("good", 1))
    yield flight
    flight.lands()


def change(folder, **config):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return folder


def with_tensors(folder, edit):
    tensors = load_file(folder / TENSORS)
    edit(tensors)
    save_file(tensors, folder / TENSORS)
    return folder


def other_shape(make_adapter, tmp_path):
    return random_adapter(random_base("llama", hidden_size=48), tmp_path / "x", 1, r=4).folder


def more_layers(make_adapter, tmp_path):
    return random_adapter(random_base("llama", num_hidden_layers=3), tmp_path / "x", 1, r=4).folder


def other_weights(make_adapter, tmp_path):
    folder = make_adapter("bad", 1)
    about = {"id": "x", "base": "tiny-random", "base_digest": "0" * 64, "line": "x"}
    write_manifest(folder, Manifest(**about, method="sft", rank=4))
    return folder


def other_tokenizer(make_adapter, tmp_path):
    folder = make_adapter("bad", 1)
    about = {"id": "x", "base": "tiny-random", "base_digest": load_base("tiny-random").digest}
    digest = {"tokenizer_digest": "0" * 64, "line": "x", "method": "sft", "rank": 4}
    write_manifest(folder, Manifest(**about, **digest))
    return folder


def tall(make_adapter, tmp_path):
    return make_adapter("bad", 1, r=9)


def tall_in_one_place(make_adapter, tmp_path):
    return make_adapter("bad", 1, r=4, rank_pattern={"layers.1.mlp.up_proj": 16})


def dora(make_adapter, tmp_path):
    return make_adapter("bad", 1, use_dora=True)


def head(make_adapter, tmp_path):
    return make_adapter("bad", 1, target_modules=["q_proj", "lm_head"])


def nan(make_adapter, tmp_path):
    def edit(tensors):
        next(iter(tensors.values()))[0, 0] = float("nan")

    return with_tensors(make_adapter("bad", 1), edit)


def half_a_pair(make_adapter, tmp_path):
    def edit(tensors):
        del tensors[next(name for name in tensors if "lora_B" in name)]

    return with_tensors(make_adapter("bad", 1), edit)


def truncated(make_adapter, tmp_path):
    folder = make_adapter("bad", 1)
    whole = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(whole[: len(whole) * 2 // 3])
    return folder


def wide_reward(make_adapter, tmp_path):
    def edit(tensors):
        tensors["base_model.model.score.weight"] = torch.ones(1, 65)

    return with_tensors(make_adapter("bad", 1), edit)


def two_rewards(make_adapter, tmp_path):
    def edit(tensors):
        tensors["base_model.model.score.weight"] = torch.ones(2, 64)

    return with_tensors(make_adapter("bad", 1), edit)


def nowhere(make_adapter, tmp_path):
    return tmp_path / "nowhere"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (other_shape, "another base"),
        (more_layers, "layers.2"),
        (other_weights, "other weights"),
        (other_tokenizer, "another tokenizer or chat template"),
        (tall, "rank 9.*limit of 8.*max_rank"),
        (tall_in_one_place, "up_proj.*rank 16.*limit of 8"),
        (dora, "use_dora"),
        (head, "lm_head"),
        (nan, "NaN"),
        (half_a_pair, "without a lora_B"),
        (truncated, "damaged"),
        (wide_reward, r"\(1, 65\).*\(1, 64\)"),
        (two_rewards, r"\(2, 64\).*\(1, 64\)"),
        (nowhere, "expected a PEFT adapter folder"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_adapter_that_does_not_fit_is_refused_in_one_line(
    flight, make_adapter, tmp_path, make, words
):
    folder = make(make_adapter, tmp_path)
    with pytest.raises(AdapterError, match=words) as caught:
        flight.engine.load("bad", folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    with pytest.raises(AdapterError, match="not loaded"):
        flight.engine.submit(GenerationRequest(PROMPT, "bad"))


def test_factors_in_memory_are_checked_too(flight):
    name = "model.layers.0.self_attn.q_proj"
    fits = (torch.zeros(4, 64), torch.zeros(64, 4))
    bad = {
        "rank": LoraFactors({name: (torch.zeros(4, 64), torch.zeros(64, 5))}),
        "infinite": LoraFactors({name: (fits[0] + float("inf"), fits[1])}),
        "unknown": LoraFactors({"model.embed_tokens": fits}),
        "none": LoraFactors({name: (torch.zeros(0, 64), torch.zeros(64, 0))}),
        "head": LoraFactors({name: fits}, score=torch.full((1, 64), float("nan"))),
    }
    for words, factors in bad.items():
        with pytest.raises(AdapterError, match=r"\S") as caught:
            flight.engine.load(words, factors)
        assert words in str(caught.value)


def test_what_half_precision_cannot_hold_is_refused(tiny):
    engine = BankEngine(in_dtype(tiny, torch.float16), OPTIONS)
    big = {"model.layers.0.self_attn.q_proj": (torch.ones(1, 64) * 1e6, torch.ones(64, 1))}
    with pytest.raises(AdapterError, match="float16"):
        engine.load("big", LoraFactors(big))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt_ids": PROMPT * 4}, "slot holds 64"),
        ({"max_new_tokens": 44}, "65 tokens.*slot holds 64"),
        ({"prompt_ids": []}, "empty"),
        ({"prompt_ids": [5, 258]}, "258.*0 to 257"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"n": 0}, "n is 0"),
        ({"logit_bias": {258: 1.0}}, "258"),
        ({"stop": ("",)}, "empty string"),
        ({"prompt_logprobs": 0}, "prompt_logprobs is 0"),
        ({"max_new_tokens": 0, "score": True}, "no reward head"),
    ],
)
@pytest.mark.parametrize("among", [False, True], ids=["alone", "among others"])
def test_a_request_that_cannot_be_served_queues_nothing(flight, options, words, among):
    usual = {"prompt_ids": PROMPT, "adapter": "good", "max_new_tokens": 5}
    bad, good = GenerationRequest(**{**usual, **options}), GenerationRequest(**usual)
    with pytest.raises(RequestError, match=words):
        if among:
            flight.engine.generate([good, bad, good])
        else:
            flight.engine.submit(bad)


def test_a_refused_list_of_requests_leaves_nothing_to_do(tiny):
    engine = BankEngine(tiny, OPTIONS)
    requests = [GenerationRequest(PROMPT, adapter, 5) for adapter in (None, "nobody")]
    with pytest.raises(AdapterError, match="not loaded"):
        engine.generate(requests)
    assert [one.completion.finish_reason for one in engine.step()] == ["cancelled"]
    assert not engine.busy


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kv_bytes": 4096}, "KV budget.*fewer slots"),
        ({"kv_bytes": 4 * 64 * 512 - 1, "slot_tokens": 64}, "KV budget"),
        ({"slot_tokens": 2049}, "1 to 2048"),
        ({"slot_tokens": 0}, "1 to 2048"),
        ({"slots": 0}, "slots"),
        ({"adapters": 0}, "adapters"),
        ({"chunk_tokens": 0}, "chunk_tokens"),
        ({"max_rank": 0}, "max_rank"),
        ({"kv_bytes": -1}, "kv_bytes|KV budget"),
    ],
    ids=str,
)
def test_limits_that_serve_nobody_are_refused(tiny, options, words):
    with pytest.raises(RequestError, match=words):
        BankEngine(tiny, EngineOptions(**{"slots": 4, "adapters": 2, **options}))


def test_the_smallest_budget_that_holds_its_slots(tiny):
    """Two layers, two key heads of 16, keys and values, fp32: 512 bytes a token."""
    engine = BankEngine(tiny, EngineOptions(slots=4, adapters=1, kv_bytes=4 * 64 * 512))
    assert engine.context_length == 64
    request = GenerationRequest(PROMPT, max_new_tokens=43, ignore_eos=True)
    assert len(engine.generate([request])[0].token_ids) == 43
