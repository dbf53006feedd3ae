"""What `align.compat` depends on in the installed libraries: an update of them fails here first.

tests/align/compat compares results with the libraries'.
"""

from importlib.metadata import version

import pytest
import torch

from align.compat import VERSIONS


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
