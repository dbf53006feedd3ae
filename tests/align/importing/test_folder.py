"""Adapters that PEFT has made are served as `PeftModel` answers, or refused with a remedy."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from peft import (
    AdaLoraConfig,
    BOFTConfig,
    IA3Config,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    OFTConfig,
    PeftModel,
    RandLoraConfig,
    VeraConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from align.adapters import adapter_id, read_manifest
from align.base import model_source
from align.errors import AdapterError
from align.importing import import_adapter
from align.inference.engine import BankEngine
from align.inference.options import EngineOptions
from align.inference.types import GenerationRequest
from tests.align.importing.conftest import configure

TENSORS = "adapter_model.safetensors"
PROMPT = [40, 41, 60, 7, 99, 120]
REST = [33, 34, 35, 200, 201]
ATTENTION = ["q_proj", "v_proj"]

KINDS = {
    "lora": LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"),
    "rslora": LoraConfig(r=4, lora_alpha=3, use_rslora=True, target_modules=ATTENTION),
    "patterns": LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules="all-linear",
        rank_pattern={r"layers\.0\.self_attn\.q_proj": 7, "down_proj": 2},
        alpha_pattern={"o_proj": 5},
    ),
    "some layers": LoraConfig(
        r=4, target_modules=ATTENTION, layers_to_transform=[1], layers_pattern="layers"
    ),
    "regex": LoraConfig(r=3, target_modules=r".*\.1\.(mlp\.(up|down)|self_attn\.o)_proj"),
    "eva-like": LoraConfig(r=4, target_modules=ATTENTION, init_lora_weights="orthogonal"),
    "fan in": LoraConfig(r=4, target_modules=ATTENTION, fan_in_fan_out=True),
    "adalora": AdaLoraConfig(init_r=6, target_r=3, total_step=9, target_modules=ATTENTION),
    "loha": LoHaConfig(r=3, alpha=5, target_modules=[*ATTENTION, "down_proj"]),
    "loha patterns": LoHaConfig(
        r=3,
        alpha=5,
        target_modules=ATTENTION,
        rank_pattern={"q_proj": 2},
        alpha_pattern={"v_proj": 1},
    ),
    "lokr": LoKrConfig(r=2, alpha=3, target_modules=[*ATTENTION, "up_proj"]),
    "lokr both": LoKrConfig(r=2, alpha=30, decompose_both=True, target_modules=ATTENTION),
    "lokr full": LoKrConfig(r=64, alpha=3000, target_modules=["q_proj"]),
    "vera": VeraConfig(r=16, target_modules=[*ATTENTION, "down_proj"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(tiny):
    return BankEngine(tiny, EngineOptions(slots=4, slot_tokens=64))


def answers(model):
    """The summed log-probability of REST after PROMPT, and five greedy tokens."""
    ids = torch.tensor([[*PROMPT, *REST]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0].log_softmax(-1)
        total = sum(float(logits[len(PROMPT) - 1 + i, token]) for i, token in enumerate(REST))
        prompt = torch.tensor([PROMPT])
        out = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=5,
            do_sample=False,
        )
    return total, out[0, len(PROMPT) :].tolist()


def check_served(engine, tiny, original, imported, name):
    """The engine answers with the imported folder as PEFT does with the original."""
    total, tokens = answers(PeftModel.from_pretrained(tiny.shell(), original).eval())
    without, _ = answers(tiny.shell())
    assert abs(total - without) > 0.05  # the adapter does something
    engine.load(name, imported)
    assert engine.log_probabilities([(PROMPT, REST)], name)[0] == pytest.approx(total, abs=2e-4)
    done = engine.generate([GenerationRequest(PROMPT, name, max_new_tokens=5)])[0].token_ids
    assert list(done) == tokens[: len(done)] and (len(done) == 5 or tokens[len(done)] == 1)


@pytest.mark.parametrize("name", KINDS)
def test_the_engine_answers_as_peft_does(engine, tiny, foreign, tmp_path, name):
    original, target = foreign(KINDS[name]), tmp_path / "imported"
    imported = import_adapter(original, "mine/sft", None, target)
    check_served(engine, tiny, original, target, name)
    assert imported.manifest == read_manifest(target)
    assert (imported.manifest.id, imported.manifest.line) == (adapter_id(target), "mine/sft")
    assert (imported.manifest.base, imported.manifest.base_digest) == ("tiny-random", tiny.digest)
    assert imported.kind == json.loads((original / "adapter_config.json").read_text())["peft_type"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_taken_as_the_numbers_it_holds(engine, tiny, foreign, tmp_path, dtype):
    original = foreign(KINDS["lora"])
    tensors = {key: value.to(dtype) for key, value in load_file(original / TENSORS).items()}
    save_file(tensors, original / TENSORS)
    import_adapter(original, "mine/sft", None, tmp_path / "imported")
    check_served(engine, tiny, original, tmp_path / "imported", str(dtype))


def test_singular_values_that_training_has_pruned_take_no_rank(engine, tiny, foreign, tmp_path):
    original = foreign(KINDS["adalora"])
    tensors = load_file(original / TENSORS)
    for key, value in tensors.items():
        if "lora_E" in key:
            value[1:4] = 0
    save_file(tensors, original / TENSORS)
    imported = import_adapter(original, "mine/sft", None, tmp_path / "imported")
    assert imported.manifest.rank == 3
    check_served(engine, tiny, original, tmp_path / "imported", "pruned")


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: f"base_model.model.{key}",
        lambda key: key.replace(".weight", ".default.weight"),
        lambda key: key.removeprefix("base_model.model."),
        lambda key: f"module.{key}".replace("base_model.model.", "base_model.model._orig_mod."),
    ],
    ids=["doubled", "adapter name", "no prefix", "wrappers"],
)
def test_keys_of_other_versions_and_wrappers(engine, tiny, foreign, tmp_path, rename):
    original = foreign(KINDS["lora"])
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    tensors = load_file(original / TENSORS)
    save_file({rename(key): value for key, value in tensors.items()}, renamed / TENSORS)
    (renamed / "adapter_config.json").write_bytes((original / "adapter_config.json").read_bytes())
    import_adapter(renamed, "mine/sft", None, tmp_path / "imported")
    check_served(engine, tiny, original, tmp_path / "imported", rename("x"))


def test_a_config_of_an_old_version_has_pefts_defaults(engine, tiny, foreign, tmp_path):
    original = foreign(LoraConfig(r=8, lora_alpha=8, target_modules=ATTENTION))
    newer = [
        "alpha_pattern",
        "rank_pattern",
        "use_rslora",
        "peft_version",
        "use_dora",
        "init_lora_weights",
        "r",
    ]
    configure(original, **dict.fromkeys((*newer, "lora_alpha")))
    import_adapter(original, "mine/sft", None, tmp_path / "imported")
    check_served(engine, tiny, original, tmp_path / "imported", "old")


def test_sharded_files_are_read_together(engine, tiny, foreign, tmp_path):
    original = foreign(KINDS["lora"])
    whole = tmp_path / "whole"
    original.rename(whole)
    parts = tmp_path / "parts"
    parts.mkdir()
    tensors = sorted(load_file(whole / TENSORS).items())
    names = [f"adapter_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for name, part in zip(names, (tensors[:5], tensors[5:]), strict=True):
        save_file(dict(part), parts / name)
    index = {key: names[at >= 5] for at, (key, _) in enumerate(tensors)}
    (parts / f"{TENSORS}.index.json").write_text(json.dumps({"weight_map": index}))
    (parts / "adapter_config.json").write_bytes((whole / "adapter_config.json").read_bytes())
    import_adapter(parts, "mine/sft", None, tmp_path / "imported")
    check_served(engine, tiny, whole, tmp_path / "imported", "sharded")


def test_a_reward_model_scores_as_sequence_classification(engine, tiny, tmp_path):
    classifier = AutoModelForSequenceClassification.from_pretrained(
        model_source("tiny-random"), num_labels=1, dtype=torch.float32
    )
    classifier.model.load_state_dict(tiny.model.model.state_dict())
    classifier.config.pad_token_id = tiny.tokenizer.pad_token_id
    config = LoraConfig(
        task_type="SEQ_CLS", r=4, target_modules=ATTENTION, modules_to_save=["score"]
    )
    model = get_peft_model(classifier, config).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(tmp_path / "judge")
    configure(tmp_path / "judge", base_model_name_or_path="tiny-random")
    imported = import_adapter(tmp_path / "judge", "mine/judge", None, tmp_path / "imported")
    assert imported.manifest.method == "reward"
    assert imported.manifest.pad_token_id == tiny.tokenizer.pad_token_id
    engine.load("judge", tmp_path / "imported")
    conversation = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    ids = torch.tensor([engine.tokenize_chat(conversation, generate=False)])
    with torch.no_grad():
        expected = float(model(input_ids=ids).logits)
    assert engine.score([conversation], "judge")[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("config", "reason", "remedy"),
    [
        (IA3Config(target_modules=ATTENTION, feedforward_modules=[]), "IA3", "merge_and_unload"),
        (OFTConfig(oft_block_size=16, target_modules=ATTENTION), "OFT", "merge_and_unload"),
        (BOFTConfig(boft_block_size=16, target_modules=ATTENTION), "BOFT", "merge_and_unload"),
        (RandLoraConfig(r=8, target_modules=ATTENTION), "RANDLORA", "save_as_lora"),
        (LoraConfig(use_dora=True, target_modules=ATTENTION), "use_dora", "merge_and_unload"),
        (LoraConfig(bias="all", target_modules=ATTENTION), "bias='all'", "merge_and_unload"),
        (
            LoraConfig(init_lora_weights="pissa", target_modules=ATTENTION),
            "init_lora_weights='pissa'",
            "path_initial_model_for_weight_conversion",
        ),
        (LoraConfig(r=200, target_modules=["gate_proj"]), "rank 200", "save_as_lora"),
        (LoHaConfig(r=12, target_modules=ATTENTION), "rank 144", "save_as_lora"),
        (VeraConfig(r=8, save_projection=False, target_modules=ATTENTION), "vera_A", "save_proj"),
        (
            LoraConfig(target_modules=["q_proj", "lm_head"]),
            "'lm_head' is the output head",
            "--base",
        ),
        (
            LoraConfig(target_modules=ATTENTION, modules_to_save=["lm_head"]),
            "'lm_head' was trained as a whole",
            "merge it",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_held_is_refused_with_a_remedy(foreign, tmp_path, config, reason, remedy):
    folder = foreign(config)
    with pytest.raises(AdapterError) as refusal:
        import_adapter(folder, "mine/sft", None, tmp_path / "imported")
    assert reason in str(refusal.value) and remedy in str(refusal.value)
    assert str(folder) in str(refusal.value)
    assert not (tmp_path / "imported").exists()


def test_a_converted_pissa_adapter_is_plain_lora(engine, tiny, tmp_path):
    """Saved with the initial adapter, PEFT writes the difference to the original base."""
    torch.manual_seed(0)
    start = LoraConfig(r=4, target_modules=ATTENTION, init_lora_weights="pissa")
    model = get_peft_model(copy.deepcopy(tiny.model), start)
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(tmp_path / "initial")
    model.peft_config["default"].init_lora_weights = "pissa"
    for key, parameter in model.named_parameters():
        if "lora_B" in key:
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(
        tmp_path / "pissa", path_initial_model_for_weight_conversion=str(tmp_path / "initial")
    )
    configure(tmp_path / "pissa", base_model_name_or_path="tiny-random")
    import_adapter(tmp_path / "pissa", "mine/sft", None, tmp_path / "imported")
    check_served(engine, tiny, tmp_path / "pissa", tmp_path / "imported", "pissa")


def test_the_command_for_a_pickle_makes_what_can_be_imported(engine, tiny, foreign, tmp_path):
    original = foreign(KINDS["lora"])
    pickled = tmp_path / "a folder's name"
    pickled.mkdir()
    torch.save(load_file(original / TENSORS), pickled / "adapter_model.bin")
    (pickled / "adapter_config.json").write_bytes((original / "adapter_config.json").read_bytes())
    with pytest.raises(AdapterError, match="pickle") as refusal:
        import_adapter(pickled, "mine/sft", None, tmp_path / "imported")
    command = str(refusal.value).partition(" again: ")[2].replace("python", sys.executable, 1)
    subprocess.run(["bash", "-c", command], check=True, timeout=300)
    import_adapter(pickled, "mine/sft", None, tmp_path / "imported")
    check_served(engine, tiny, original, tmp_path / "imported", "pickled")


def test_a_published_folder_is_for_register(foreign, tmp_path):
    import_adapter(foreign(KINDS["lora"]), "mine/sft", None, tmp_path / "imported")
    with pytest.raises(AdapterError, match="alignery adapter register mine/sft"):
        import_adapter(tmp_path / "imported", "mine/sft", None, tmp_path / "again")


def test_what_is_written_names_a_base_and_is_read_by_peft(tiny, foreign, tmp_path):
    original, target = foreign(KINDS["loha"]), tmp_path / "imported"
    import_adapter(original, "mine/sft", model_source("tiny-random"), target)
    named = json.loads((target / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert named == f"tiny-random-sha256-{tiny.digest[:12]}"
    total, tokens = answers(PeftModel.from_pretrained(tiny.shell(), original).eval())
    served = answers(PeftModel.from_pretrained(tiny.shell(), target).eval())
    assert served[0] == pytest.approx(total, abs=2e-4) and served[1] == tokens
