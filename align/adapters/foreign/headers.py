"""Names, shapes and dtypes of safetensors files, before any value is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from align.errors import AdapterError

#: Dtypes of an adapter's tensors; others are quantised or no numbers of a linear map.
_FLOATS = ("F16", "BF16", "F32", "F64")


@dataclass(frozen=True)
class StoredTensor:
    """A tensor's place and shape, as a header says it."""

    file: Path
    key: str
    shape: tuple[int, ...]

    def read(self) -> torch.Tensor:
        """The values in fp32. AdapterError if they are not finite."""
        with safe_open(str(self.file), "pt") as opened:
            values: torch.Tensor = opened.get_tensor(self.key).float()
        if not bool(torch.isfinite(values).all()):
            raise AdapterError(
                f"{self.file}: tensor {self.key} holds NaN or infinite values: the training "
                "diverged or the file is damaged; take an earlier checkpoint"
            )
        return values


def read_headers(files: Iterable[Path]) -> dict[str, StoredTensor]:
    """All tensors of the files by key.

    AdapterError for a damaged header, a dtype that is no float, and a key that comes twice.
    """
    stored: dict[str, StoredTensor] = {}
    for file in files:
        try:
            with safe_open(str(file), "pt") as opened:
                for key in opened.keys():  # noqa: SIM118  (no mapping)
                    part = opened.get_slice(key)
                    _check(file, key, part.get_dtype(), key in stored)
                    stored[key] = StoredTensor(file, key, tuple(part.get_shape()))
        except (SafetensorError, OSError) as error:
            raise AdapterError(
                f"{file}: no readable safetensors file: {' '.join(str(error).split())}; "
                "copy or convert it again"
            ) from None
    return stored


def _check(file: Path, key: str, dtype: str, known: bool) -> None:
    if dtype not in _FLOATS:
        raise AdapterError(
            f"{file}: tensor {key} is {dtype}; allowed: {', '.join(_FLOATS)}. Save the adapter "
            "unquantised"
        )
    if known:
        raise AdapterError(f"{file}: tensor {key} stands in another file of the adapter, too")
