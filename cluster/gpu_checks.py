"""The types of GPUs on which `alignery gpu check` has passed, for machines that share a storage.

The command writes its result to the home of the machine that it ran on, as `gpu-check/<card>.json`.
A copy in storage, under the key `gpu-check/<card>`, tells it to the machines that start sweeps and
endpoints on a cluster.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cluster.errors import StorageError
from cluster.settings import Settings
from cluster.storage import Storage

FOLDER = "gpu-check"


def share_check(settings: Settings, result: Path) -> None:
    """Copy a result, `<card>.json`, into storage. StorageError if that fails."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(result, folder)
        Storage(settings).put_folder(Path(folder), f"{FOLDER}/{result.stem}")


def passed_cards(settings: Settings) -> set[str]:
    """The cards for which the home or the storage has a result without a failure.

    Files that cannot be read count as none. StorageError if the storage cannot be listed.
    """
    return {file.stem for file in _results(settings) if _verdict(file) == "PASS"}


def is_of_type(card: str, accelerator: str | None) -> bool:
    """Whether a result's card is of Ray's type: A100-40 is of A100 and of A100-40G.

    None is any type of GPU. A card that has played another (H100-as-T4) is of no type.
    """
    if "-as-" in card:
        return False
    if accelerator is None:
        return card != "cpu"
    return card in (accelerator, accelerator.removesuffix("G")) or card.startswith(
        f"{accelerator}-"
    )


def hint(settings: Settings, accelerator: str | None) -> str:
    """The advice to run the check on GPUs of this type first; empty where it has passed there.

    Empty, too, if that cannot be looked up.
    """
    with suppress(StorageError):
        if not any(is_of_type(card, accelerator) for card in passed_cards(settings)):
            return (
                f"`alignery gpu check` has never passed on {accelerator or 'GPUs'} here: it shows "
                "in minutes, on a machine with such a card, whether all that runs there works"
            )
    return ""


def _results(settings: Settings) -> Iterator[Path]:
    yield from (settings.home / FOLDER).glob("*.json")
    storage = Storage(settings)
    for key in storage.keys(f"{FOLDER}/"):
        yield from storage.get_folder(key).glob("*.json")


def _verdict(file: Path) -> str:
    with suppress(OSError, ValueError, TypeError, KeyError):
        return str(json.loads(file.read_text(encoding="utf-8"))["verdict"])
    return ""
