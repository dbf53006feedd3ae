"""Which Ray `cluster.compat` was written for, and how an attribute of a library is replaced."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import ray

from align.compat.attributes import replaced
from cluster.compat import RAY


def test_the_installed_ray_is_the_version_that_the_modules_were_written_for() -> None:
    advice = "read what each module of cluster.compat says, then change cluster.compat.RAY"
    assert ray.__version__.startswith(f"{RAY}."), advice


def test_an_attribute_is_replaced_for_a_block_and_must_exist() -> None:
    library = SimpleNamespace(size=1)
    with pytest.raises(ValueError, match="within"), replaced(library, "size", 2):
        assert library.size == 2
        raise ValueError("within")
    assert library.size == 1
    with pytest.raises(AttributeError, match="length"), replaced(library, "length", 2):
        pass
