"""PEFT itself says which modules a config adapts."""

import pytest
from peft import LoraConfig, get_peft_model
from torch import nn

from align.adapters.foreign.targets import is_targeted


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj, self.my_q_proj, self.up = (nn.Linear(2, 2) for _ in range(3))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(3))
        self.blocks = nn.ModuleList(Layer() for _ in range(2))


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj"]},
        {"target_modules": ["layers.1.up", "q_proj"]},
        {"target_modules": r".*\.[02]\.(up|q_proj)"},
        {"target_modules": "layers"},
        {"target_modules": ["up"], "layers_to_transform": [0, 2]},
        {"target_modules": ["up"], "layers_to_transform": 1},
        {"target_modules": ["up"], "layers_to_transform": [1], "layers_pattern": "blocks"},
        {"target_modules": ["up"], "layers_to_transform": [1], "layers_pattern": ["no", "layers"]},
        {"target_modules": ["model.layers.1.up", "up"], "layers_to_transform": [0]},
        {"target_modules": ["q_proj", "up"], "exclude_modules": ["layers.0.up", "my_q_proj"]},
        {"target_modules": ["q_proj", "up"], "exclude_modules": r".*layers\.1.*"},
    ],
    ids=str,
)
def test_the_rules_are_pefts(options):
    root = nn.Module()
    root.model = Model()
    names = [name for name, module in root.named_modules() if isinstance(module, nn.Linear)]
    try:
        adapted = get_peft_model(root, LoraConfig(r=1, **options))
    except ValueError:  # no module is a target
        expected = set()
    else:
        ending = ".lora_A.default"
        expected = {
            name.removeprefix("base_model.model.").removesuffix(ending)
            for name, _ in adapted.named_modules()
            if name.endswith(ending)
        }
    assert {name for name in names if is_targeted(options, name)} == expected


def test_families_defaults_are_not_known():
    assert is_targeted({}, "model.layers.0.up")
