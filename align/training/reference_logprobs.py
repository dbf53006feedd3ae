"""DPO's reference log-probabilities, computed once for a parent and cached for all its trials.

The reference is the parent, so it does not depend on a trial's rank, learning rate, beta or seed.
TRL's own cache has a hash of the whole model with the new LoRA as its key, so trials cannot share
its entries.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from filelock import FileLock

from align.artifact_cache import shelf
from align.atomic_write import write_atomically
from align.evaluation.eval_cache import ARITHMETIC
from align.fp16 import held_linears
from align.sources import cache_folder

Values = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Reference:
    """Everything that the reference log-probabilities of a row's tokens depend on.

    `parent` is an adapter's id, None for the base itself, `dtype` the base's, with the names of
    linear layers in fp32. The rows' own tokens, and so template and tokenizer, are in the name of
    each value.
    """

    base_digest: str
    parent: str | None
    max_length: int | None
    truncation_mode: str
    ld_alpha: float | None
    dtype: str
    mixed_precision: str
    device: str
    trl: str
    arithmetic: int = ARITHMETIC

    @property
    def digest(self) -> str:
        """SHA-256 over all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def path(self) -> Path:
        """The file of the log-probabilities."""
        return cache_folder("reference") / f"{self.digest}.json"


def reference_of(trainer: Any, base_digest: str, parent: str | None) -> Reference:
    """The reference of a DPO trainer whose model holds this parent."""
    args = trainer.args
    return Reference(
        base_digest=base_digest,
        parent=parent,
        max_length=args.max_length,
        truncation_mode=args.truncation_mode,
        ld_alpha=args.ld_alpha,
        dtype=" ".join([str(trainer.model.dtype), *held_linears(trainer.model)]),
        mixed_precision=trainer.accelerator.mixed_precision,
        device=trainer.accelerator.device.type,
        trl=version("trl"),
    )


def give_reference(trainer: Any, reference: Reference, until: int) -> None:
    """Let a DPO trainer read its reference log-probabilities from its rows.

    Values that earlier trainers computed are read from disk or from the artifact cache. Missing
    values of the rows up to step `until` are computed by TRL's own `compute_ref_log_probs`, in the
    micro-batches of this run. Later rows hold NaN, which would end the run at once. A file lock
    keeps two trials of a machine from computing the same values.
    """
    rows = trainer.train_dataset
    batches = list(_batches(trainer, until))
    names = {
        index: _name(rows[index])
        for index in sorted({index for batch in batches for index in batch})
    }
    values = _values(trainer, reference, batches, names)
    chosen, rejected = [float("nan")] * len(rows), [float("nan")] * len(rows)
    for index, name in names.items():
        chosen[index], rejected[index] = values[name]
    rows = rows.add_column("ref_chosen_logps", chosen)
    trainer.train_dataset = rows.add_column("ref_rejected_logps", rejected)
    trainer.precompute_ref_logps = True


def _values(
    trainer: Any, reference: Reference, batches: list[list[int]], names: dict[int, str]
) -> Values:
    """The values of all these rows, by name."""
    path, needed = reference.path, set(names.values())
    names_digest = hashlib.sha256(json.dumps(sorted(needed)).encode()).hexdigest()
    key = f"{reference.digest[:32]}-{names_digest[:32]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        values = _read(path)
        count_before = len(values)
        try:
            if not needed <= values.keys():
                values = _fetched(key, path.parent) | values
            _compute(trainer, batches, names, values)
        finally:
            if len(values) > count_before:
                write_atomically(path, json.dumps(values))
    _offer(key, path.parent, {name: values[name] for name in needed})
    return values


def _compute(trainer: Any, batches: list[list[int]], names: dict[int, str], values: Values) -> None:
    """Compute the missing values and add them to `values`."""
    rows = trainer.train_dataset
    for batch in batches:
        if all(names[index] in values for index in batch):
            continue
        collated = trainer.data_collator([rows[index] for index in batch])
        inputs = send_to_device(collated, trainer.args.device)
        with without_dropout(trainer.model):
            sides = trainer.compute_ref_log_probs(trainer.model, inputs)
        for index, chosen, rejected in zip(batch, *(side.tolist() for side in sides), strict=True):
            values.setdefault(names[index], (chosen, rejected))


def _fetched(key: str, folder: Path) -> Values:
    """The values that another worker computed for the same rows."""
    with _scratch(folder) as file:
        return _read(file) if shelf().fetch("reference", key, file) else {}


def _offer(key: str, folder: Path, values: Values) -> None:
    with _scratch(folder) as file:
        file.write_text(json.dumps(values))
        shelf().offer("reference", key, file)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    file = folder / f".{uuid.uuid4().hex}"
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def _batches(trainer: Any, until: int) -> Iterator[list[int]]:
    """Row indices of the micro-batches of the first `until` steps, until every row occurred."""
    loader = trainer.get_train_dataloader()
    remaining, row_count = (
        until * trainer.args.gradient_accumulation_steps,
        len(trainer.train_dataset),
    )
    seen: set[int] = set()
    epoch = 0
    while remaining > 0 and len(seen) < row_count:
        loader.set_epoch(epoch)
        for batch in islice(loader.batch_sampler, remaining):
            seen.update(batch)
            remaining -= 1
            yield batch
        epoch += 1


def _name(row: dict[str, Any]) -> str:
    """A row's name: a digest of its tokens."""
    text = json.dumps([row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]])
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, and back into its mode at the end."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _read(path: Path) -> Values:
    try:
        return {name: (a, b) for name, (a, b) in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
