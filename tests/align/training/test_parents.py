"""Which parents a stage can start from."""

import pytest

from align.adapters import Manifest, write_manifest
from align.adapters.tensors import read_factors
from align.errors import AdapterError
from tests.align.training.short_runs import run, stage_of


def test_a_parent_of_another_base_is_refused(tiny, make_adapter, tmp_path):
    parent = make_adapter("parent", 1)
    manifest = Manifest(
        id="1" * 64, base="other/base", base_digest="f" * 64, line="x/sft", method="sft", rank=4
    )
    write_manifest(parent, manifest)
    with pytest.raises(AdapterError, match=r"'other/base' \(f{12}\).*'tiny-random'"):
        run(tiny, "sft", tmp_path / "run", parent=parent)
    write_manifest(parent, manifest.model_copy(update={"base_digest": tiny.digest}))
    run(tiny, "sft", tmp_path / "run", to=1, parent=parent)


def test_a_chain_that_is_too_deep_for_the_bank_is_refused_before_training(
    tiny, make_adapter, tmp_path
):
    parent = make_adapter("parent", 1, r=126, target_modules=["q_proj"])
    with pytest.raises(AdapterError, match=r"rank 126; .*lora.r 4 .* 130, and the bank holds 128"):
        run(tiny, "sft", tmp_path / "run", parent=parent)
    assert not (tmp_path / "run").exists()
    # Other modules than the parent's: nothing is as deep as the sum.
    beside = stage_of("sft")
    beside.lora.target_modules = ["v_proj"]
    _, checkpoint = run(tiny, "sft", tmp_path / "run", to=1, parent=parent, stage=beside)
    assert read_factors(checkpoint / "published").rank == 126
