"""Files that are no safetensors adapter of PEFT: what they are, and how to convert them."""

from __future__ import annotations

import shlex
from fnmatch import fnmatchcase
from pathlib import Path

from align.adapters.folder import CONFIG, TENSORS

#: Suffixes of files that `torch.load` reads: pickles, which can run code when they are loaded.
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".lora")

_PICKLE = (
    "is a pickle, which can run code when it is loaded, so it is never read here; where you trust "
    "its source, convert it and import the folder again: {command}"
)
_CONVERT = (
    "import torch; from safetensors.torch import save_file; "
    "tensors = torch.load({source!r}, map_location='cpu', weights_only=True); "
    "save_file({{name: tensor.clone().contiguous() for name, tensor in tensors.items()}}, "
    "{target!r}, metadata={{'format': 'pt'}})"
)
#: Files by which other tools' folders are known: pattern, tool, and what leads to a PEFT folder.
_MARKS = (
    ("*.gguf", "llama.cpp's GGUF", "import the PEFT folder that it was converted from"),
    ("adapters.safetensors", "MLX's", "merge it with `mlx_lm.fuse` and serve the model as a base"),
    ("adapters.npz", "MLX's", "merge it with `mlx_lm.fuse` and serve the model as a base"),
    (
        "lit_model.pth*",
        "LitGPT's",
        "`litgpt merge_lora` and `litgpt convert_from_litgpt` make a model to serve as a base",
    ),
    (
        "adapter_[0-9]*.pt",
        "torchtune's",
        "its FullModelHFCheckpointer writes PEFT's files with `output_dir` and "
        "`save_adapter_weights_only: True`",
    ),
    (
        "recipe_state.pt",
        "torchtune's",
        "its FullModelHFCheckpointer writes PEFT's files with `output_dir` and "
        "`save_adapter_weights_only: True`",
    ),
    (
        "zero_to_fp32.py",
        "a DeepSpeed checkpoint, which is",
        "`python zero_to_fp32.py . out --safe_serialization` gathers its weights",
    ),
)


def pickle_refusal(file: Path) -> str:
    """Why a pickle is not read, and the command that converts it."""
    target = file.with_name(TENSORS)
    code = _CONVERT.format(source=str(file), target=str(target))
    return f"{file} {_PICKLE.format(command=f'python -c {shlex.quote(code)}')}"


def unlike_peft(folder: Path) -> str:
    """What a folder without an adapter is instead, and what leads to one of PEFT."""
    for file in sorted(folder.iterdir()):
        if said := tools_own(file.name):
            return said
    if (folder / "config.json").is_file():
        return (
            "it holds a whole model and no adapter: name it as a base "
            "(`alignery serve run --base FOLDER`, or `base:` in a recipe)"
        )
    return f"expected a PEFT adapter: a folder with {CONFIG} and {TENSORS}"


def tools_own(name: str) -> str:
    """Whose format a file of this name has, if it is another tool's; else empty."""
    for pattern, tool, remedy in _MARKS:
        if fnmatchcase(name, pattern):
            return f"{name} is {tool} own format, not PEFT's: {remedy}"
    return ""


def is_mlx(config: dict[str, object]) -> bool:
    """Whether an adapter_config.json is the one that MLX writes."""
    return "peft_type" not in config and bool({"lora_parameters", "fine_tune_type"} & set(config))
