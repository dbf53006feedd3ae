"""A library's attribute is replaced for a block."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from align.compat.attributes import replaced


def test_an_attribute_is_replaced_for_a_block_and_must_exist() -> None:
    library = SimpleNamespace(size=1)
    with pytest.raises(ValueError, match="within"), replaced(library, "size", 2):
        assert library.size == 2
        raise ValueError("within")
    assert library.size == 1
    with pytest.raises(AttributeError, match="length"), replaced(library, "length", 2):
        pass
