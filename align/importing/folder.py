"""A foreign adapter as a folder of this project: PEFT's files and a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from align.adapters import IMPORTED, MANIFEST, Manifest, adapter_id, write_manifest
from align.adapters.base_name import public_base
from align.adapters.foreign import AdapterFiles, ForeignAdapter, locate, read_foreign
from align.adapters.provenance import code_commit, versions
from align.adapters.tensors import write_factors
from align.base import Base
from align.digests import template_digest
from align.errors import AdapterError
from align.importing.base_match import find_base, shapes_of
from align.importing.tokenizer_match import compare_tokenizers
from align.recipe.lora import MAX_RANK


@dataclass(frozen=True)
class Imported:
    """An adapter in its new folder. `notes` are for the person who imports it."""

    manifest: Manifest
    kind: str
    conversion: str
    notes: tuple[str, ...]


def import_adapter(source: Path, line: str, base_name: str | None, target: Path) -> Imported:
    """Write the adapter in `source` to the new folder `target`, for a line of adapters.

    `base_name` states the base where the adapter's config cannot be relied on. AdapterError names
    what cannot be held or does not fit, ModelError a base that cannot be loaded; then nothing is
    written.
    """
    files = locate(source)
    if (files.folder / MANIFEST).is_file():
        raise AdapterError(
            f"{files.folder}: it has a {MANIFEST}, so it was published by alignery: "
            f"`alignery adapter register {line} {files.folder}` keeps what is known of it"
        )
    base, notes = _base_of(files, base_name)
    adapter = read_foreign(files, shapes_of(base), MAX_RANK)
    notes += compare_tokenizers(files.folder, base)
    if adapter.factors.score is not None:
        notes.append(
            f"its head scores the last token that is not {base.tokenizer.pad_token!r}, the base's "
            "padding"
        )
    name, revision = public_base(base.ref, base.digest, base.revision)
    write_factors(target, adapter.factors, name, revision)
    manifest = _manifest(adapter, base, line, target)
    write_manifest(target, manifest)
    return Imported(manifest, adapter.kind, adapter.conversion, (*adapter.notes, *notes))


def _base_of(files: AdapterFiles, stated: str | None) -> tuple[Base, list[str]]:
    """`find_base`; its errors name the adapter's folder."""
    named, revision = (files.config.get(key) for key in ("base_model_name_or_path", "revision"))
    try:
        return find_base(named, revision, stated)
    except AdapterError as error:
        raise AdapterError(f"{files.folder}: {error}") from None


def _manifest(adapter: ForeignAdapter, base: Base, line: str, folder: Path) -> Manifest:
    reward = adapter.factors.score is not None
    return Manifest(
        id=adapter_id(folder),
        base=base.ref,
        base_digest=base.digest,
        base_revision=base.revision,
        tokenizer_digest=base.tokenizer_digest,
        template_digest=template_digest(base.tokenizer),
        line=line,
        method="reward" if reward else IMPORTED,
        rank=adapter.factors.rank,
        pad_token_id=base.tokenizer.pad_token_id if reward else None,
        training={IMPORTED: {"peft_type": adapter.kind, "conversion": adapter.conversion}},
        versions=versions(),
        code_commit=code_commit(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
