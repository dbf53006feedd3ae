"""Parent and child as one adapter, loaded by plain PEFT, give the trained model's logits."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from align.adapters.stacked_parent import put_beneath
from align.adapters.tensors import read_factors, write_factors

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]


def both_by_peft(tiny, parent, child):
    """The oracle: PEFT reads both folders by itself and adds up both adapters."""
    model = PeftModel.from_pretrained(tiny.shell(), parent, adapter_name="parent")
    model.load_adapter(child, "child")
    model.base_model.set_adapter(["parent", "child"])
    return model.eval()


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ({}, {}),
        ({"r": 8, "lora_alpha": 4}, {"r": 2, "lora_alpha": 32}),
        ({"target_modules": ATTENTION}, {"target_modules": MLP}),
        ({"target_modules": ["q_proj"]}, {"target_modules": ["q_proj", "up_proj"], "r": 6}),
        ({"use_rslora": True}, {}),
        ({}, {"use_rslora": True, "r": 16}),
        ({"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 1}}, {}),
    ],
    ids=["same", "ranks", "disjoint", "overlap", "rslora-parent", "rslora-child", "patterns"],
)
def test_published_adapter_computes_what_was_trained(tiny, make_adapter, tmp_path, parent, child):
    folder = make_adapter("parent", 1, **parent)
    below = read_factors(folder)
    ids = torch.randint(0, 200, (3, 20), generator=torch.Generator().manual_seed(0))
    trained = tiny.shell()
    put_beneath(trained, below)
    torch.manual_seed(2)
    options = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **child}
    trained = get_peft_model(trained, LoraConfig(task_type="CAUSAL_LM", **options))
    for name, parameter in trained.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    trained.eval().save_pretrained(tmp_path / "child")

    write_factors(tmp_path / "out", read_factors(tmp_path / "child").stacked_on(below), "tiny")
    served = PeftModel.from_pretrained(tiny.shell(), tmp_path / "out").eval()
    oracle = both_by_peft(tiny, folder, tmp_path / "child")
    alone = PeftModel.from_pretrained(tiny.shell(), tmp_path / "child").eval()
    with torch.no_grad():
        expected = oracle(ids).logits
        without = [tiny.model(ids).logits, alone(ids).logits]
        for model in (trained, served):
            torch.testing.assert_close(model(ids).logits, expected, rtol=1e-4, atol=1e-4)
    for logits in without:  # both adapters do something
        assert (expected - logits).abs().max() > 0.1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2, "layers.0.mlp.up_proj": 3}},
        {"alpha_pattern": {"layers.1.self_attn.v_proj": 1, "v_proj": 32}},
        {"rank_pattern": {"k_proj": 9}, "alpha_pattern": {"k_proj": 5}, "use_rslora": True},
    ],
    ids=["plain", "rslora", "ranks", "alphas", "all"],
)
def test_adapter_off_is_the_parent(tiny, make_adapter, options):
    """DPO's reference: the child disabled gives the parent's logits."""
    folder = make_adapter("parent", 1, **options)
    ids = torch.arange(40).view(2, 20)
    stacked = tiny.shell()
    put_beneath(stacked, read_factors(folder))
    child = get_peft_model(stacked, LoraConfig(r=4, target_modules="all-linear"))
    alone = PeftModel.from_pretrained(tiny.shell(), folder).eval()
    with torch.no_grad(), child.disable_adapter():
        torch.testing.assert_close(child(ids).logits, alone(ids).logits, rtol=1e-4, atol=1e-4)
