"""Where an adapter's files are: in a folder, beside a file, or in a checkpoint of a trainer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align.adapters.folder import CONFIG, TENSORS
from align.adapters.foreign.other_formats import (
    PICKLES,
    is_mlx,
    pickle_refusal,
    tools_own,
    unlike_peft,
)
from align.errors import AdapterError

INDEX = f"{TENSORS}.index.json"

_JSON_BYTES = 16 * 2**20
_DEPTH = 3  # of subfolders that are searched for an adapter
_LISTED = 8  # names in a message


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter's config and the safetensors files that hold its tensors.

    `notes` says what was chosen where there was a choice.
    """

    folder: Path
    config: dict[str, Any]
    tensors: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def locate(source: Path) -> AdapterFiles:
    """The adapter in a folder, or the adapter that a file belongs to.

    A folder without an adapter of its own may have a single subfolder with an adapter, such as
    `checkpoint-500` of a trainer. AdapterError says what is there instead, and how to convert it.
    """
    if source.is_file():
        return _beside(source)
    if not source.is_dir():
        raise AdapterError(f"{source}: no such file or folder{_if_hub_id(source)}")
    if (source / CONFIG).is_file():
        return _in_folder(source, _others(source))
    inner = sorted(_adapter_folders(source))
    if not inner:
        _refuse_pickles(source)
        raise AdapterError(f"{source}: {unlike_peft(source)}")
    if len(inner) > 1:
        names = _some([str(folder) for folder in inner])
        raise AdapterError(f"{source}: {len(inner)} adapters lie in it; name one: {names}")
    note = f"the adapter lies in the subfolder {inner[0].relative_to(source)}"
    return _in_folder(inner[0], (note,))


def read_json_object(path: Path) -> dict[str, Any]:
    """A small JSON file's object. AdapterError if it is too large, damaged or no object."""
    try:
        if path.stat().st_size > _JSON_BYTES:
            raise AdapterError(
                f"{path}: larger than {_JSON_BYTES >> 20} MiB; expected a small JSON"
            )
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, AdapterError):
            raise
        cause = " ".join(str(error).split())
        raise AdapterError(f"{path}: not readable as JSON: {cause}") from None
    if not isinstance(content, dict):
        raise AdapterError(f"{path}: expected a JSON object, not {type(content).__name__}")
    return content


def _if_hub_id(source: Path) -> str:
    if source.is_absolute() or len(source.parts) != 2 or source.parts[0] in ("..", "~"):
        return ""
    return f"; if it is on the hub: `hf download {source} --local-dir FOLDER`, then import FOLDER"


def _beside(file: Path) -> AdapterFiles:
    if said := tools_own(file.name):
        raise AdapterError(f"{file}: {said}")
    if file.suffix in PICKLES:
        raise AdapterError(pickle_refusal(file))
    folder = file.parent
    if file.name == CONFIG:
        return _in_folder(folder, ())
    if file.suffix != ".safetensors":
        raise AdapterError(f"{file}: expected an adapter's folder or its {TENSORS}")
    if not (folder / CONFIG).is_file():
        raise AdapterError(
            f"{file}: no {CONFIG} beside it, which says rank, alpha and base; {unlike_peft(folder)}"
        )
    return AdapterFiles(folder, _config(folder), (file,))


def _in_folder(folder: Path, notes: tuple[str, ...]) -> AdapterFiles:
    config = _config(folder)
    if is_mlx(config):
        raise AdapterError(
            f"{folder}: an adapter in MLX's own format, not PEFT's: merge it with `mlx_lm.fuse` "
            "and serve the model as a base"
        )
    if (folder / TENSORS).is_file():
        return AdapterFiles(folder, config, (folder / TENSORS,), notes)
    if (folder / INDEX).is_file():
        return AdapterFiles(folder, config, _shards(folder), notes)
    _refuse_pickles(folder)
    raise AdapterError(f"{folder}: {CONFIG} without {TENSORS}; {unlike_peft(folder)}")


def _config(folder: Path) -> dict[str, Any]:
    return read_json_object(folder / CONFIG)


def _shards(folder: Path) -> tuple[Path, ...]:
    index = folder / INDEX
    names = read_json_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise AdapterError(f"{index}: no weight_map, which names the file of each tensor")
    files = []
    for name in sorted({str(name) for name in names.values()}):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise AdapterError(f"{index}: '{name[:80]}' is no safetensors file of this folder")
        if not (folder / name).is_file():
            raise AdapterError(
                f"{index}: its file {name} is missing; copy all parts of the adapter"
            )
        files.append(folder / name)
    return tuple(files)


def _refuse_pickles(folder: Path) -> None:
    for file in sorted(folder.glob("adapter_model*")):
        if file.suffix in PICKLES:
            raise AdapterError(pickle_refusal(file))


def _adapter_folders(folder: Path, depth: int = 1) -> Iterator[Path]:
    """Subfolders with a PEFT config, down to `_DEPTH` levels; none below another."""
    for inner in folder.iterdir():
        if not inner.is_dir() or inner.is_symlink() or inner.name.startswith("."):
            continue
        if (inner / CONFIG).is_file():
            yield inner
        elif depth < _DEPTH:
            yield from _adapter_folders(inner, depth + 1)


def _others(folder: Path) -> tuple[str, ...]:
    """A note that names the other adapters below an adapter, as PEFT saves several at once."""
    inner = sorted(str(other.relative_to(folder)) for other in _adapter_folders(folder))
    if not inner:
        return ()
    return (f"the adapter in the folder itself was taken; others lie in {_some(inner)}",)


def _some(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
