"""What `align.compat` depends on in the installed libraries: an update of them fails here first.

tests/align/compat compares results with the libraries'.
"""

from importlib.metadata import version

import pytest
import torch
from torch.nn import functional

from align.compat import VERSIONS
from align.compat.torch_linear import pack


@pytest.mark.parametrize("library", VERSIONS)
def test_the_installed_version_is_the_version_that_the_modules_were_written_for(library):
    advice = "read what each module of align.compat says, then change align.compat.VERSIONS"
    assert version(library).startswith(f"{VERSIONS[library]}."), advice


def test_torch_has_the_operators():
    """Also on processors on which they do not work in bf16."""
    reorder = torch.ops.mkldnn._reorder_linear_weight.default._schema
    assert next(iter(reorder.arguments)).name == "self"
    product = torch.ops.mkldnn._linear_pointwise.default._schema
    names = [argument.name for argument in product.arguments]
    assert names == ["X", "W", "B", "attr", "scalars", "algorithm"]


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bf16 products"
)
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_packed_product_is_the_plain_product(has_bias):
    generator = torch.Generator().manual_seed(0)
    weight, bias, x = (
        torch.randn(shape, generator=generator).bfloat16() for shape in ((48, 32), (48,), (5, 32))
    )
    product = pack(weight, bias if has_bias else None)
    assert product is not None
    expected = functional.linear(x, weight, bias if has_bias else None)
    torch.testing.assert_close(product(x), expected, rtol=0.02, atol=0.02)


def test_without_the_operators_there_is_no_packed_product(monkeypatch):
    def missing(weight):
        raise AttributeError("_reorder_linear_weight")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", missing, raising=False)
    assert pack(torch.zeros(4, 4, dtype=torch.bfloat16), None) is None
