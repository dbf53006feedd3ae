"""The engine answers as transformers and PEFT do, adapters mixed, and streams what it answers."""

import pytest
import torch
from peft import PeftModel

from align.errors import AdapterError
from align.inference import GenerationRequest
from align.inference.engine import BankEngine

PROMPTS = ["What is 3 + 4?", "Hi", "Ana has 12 apples and finds 7 more. How many apples?"]


@pytest.fixture
def engine(tiny, make_adapter):
    engine = BankEngine(tiny)
    engine.load("one", make_adapter("one", 1))
    engine.load("two", make_adapter("two", 2, r=8, target_modules=["q_proj", "down_proj"]))
    return engine


def expected(tiny, folder, prompt, count):
    model = tiny.shell() if folder is None else PeftModel.from_pretrained(tiny.shell(), folder)
    ids = torch.tensor([prompt])
    with torch.no_grad():
        out = (
            model.eval()
            .generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=count,
                do_sample=False,
            )[0, len(prompt) :]
            .tolist()
        )
    end = tiny.tokenizer.eos_token_id
    return out[: out.index(end)] if end in out else out


def test_mixed_batch_equals_generate(tiny, engine, tmp_path):
    prompts = [engine.tokenize_chat([{"role": "user", "content": text}]) for text in PROMPTS]
    cases = [(p, a) for p in prompts for a in (None, "one", "two")]
    done = engine.generate([GenerationRequest(p, adapter=a, max_new_tokens=12) for p, a in cases])
    for (prompt, adapter), completion in zip(cases, done, strict=True):
        folder = None if adapter is None else tmp_path / adapter
        assert completion.token_ids == expected(tiny, folder, prompt, 12)


@pytest.mark.parametrize("adapter", [None, "two"])
def test_uniform_batch_with_a_shared_prefix_equals_generate(tiny, engine, tmp_path, adapter):
    system = {"role": "system", "content": "You add numbers."}
    prompts = [engine.tokenize_chat([system, {"role": "user", "content": t}]) for t in PROMPTS]
    done = engine.generate([GenerationRequest(p, adapter, max_new_tokens=9) for p in prompts])
    folder = None if adapter is None else tmp_path / adapter
    for prompt, completion in zip(prompts, done, strict=True):
        assert completion.token_ids == expected(tiny, folder, prompt, 9)


def test_streamed_text_is_the_completion_and_cancel_stops_it(engine):
    prompt = engine.tokenize_chat([{"role": "user", "content": PROMPTS[0]}])
    requests = [GenerationRequest(prompt, a, max_new_tokens=10) for a in (None, "one")]
    pieces = ["", ""]

    def take(row, text):
        pieces[row] += text
        return not (row == 1 and len(pieces[1]) >= 3)

    done = engine.generate(requests, take)
    assert pieces[0] == done[0].text
    assert done[1].finish_reason == "cancelled"
    assert len(done[1].token_ids) < 10 == len(done[0].token_ids)


def test_seeded_sampling_repeats_whatever_shares_the_batch(engine):
    prompt = engine.tokenize_chat([{"role": "user", "content": PROMPTS[0]}])
    warm = GenerationRequest(prompt, "one", max_new_tokens=12, temperature=1.5, seed=7)
    other = GenerationRequest(prompt, "one", max_new_tokens=12, temperature=1.5, seed=8)
    alone = engine.generate([warm])[0].token_ids
    first, second = engine.generate([other, warm])
    assert second.token_ids == alone != first.token_ids
    narrow = GenerationRequest(prompt, "one", max_new_tokens=12, temperature=1.5, top_k=1, seed=1)
    greedy = GenerationRequest(prompt, "one", max_new_tokens=12)
    assert engine.generate([narrow])[0].token_ids == engine.generate([greedy])[0].token_ids


def test_unloading_and_wrong_names(engine, tiny, make_adapter):
    engine.unload("one")
    assert engine.loaded == {"two"}
    with pytest.raises(AdapterError, match="not loaded"):
        engine.generate([GenerationRequest([5, 6], adapter="one")])
    with pytest.raises(AdapterError, match="no reward head"):
        engine.score([[{"role": "user", "content": "x"}]], "two")
    engine.unload("two")
    done = engine.generate([GenerationRequest([5, 6, 7], max_new_tokens=4)])[0].token_ids
    assert done == expected(tiny, None, [5, 6, 7], 4)


def test_log_probability_is_the_models_own(engine, tiny):
    prompt, rest = [5, 6, 7, 8], [9, 10, 11]
    got = engine.log_probabilities([(prompt, rest), ([20], [21])], None)
    with torch.no_grad():
        logs = tiny.model(torch.tensor([prompt + rest])).logits[0].log_softmax(-1)
    want = sum(float(logs[3 + at, token]) for at, token in enumerate(rest))
    assert got[0] == pytest.approx(want, abs=1e-4)
