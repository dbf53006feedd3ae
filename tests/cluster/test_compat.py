"""Which Ray `cluster.compat` was written for, and how an attribute of a library is replaced."""

from __future__ import annotations

import ray

from cluster.compat import RAY


def test_the_installed_ray_is_the_version_that_the_modules_were_written_for() -> None:
    advice = "read what each module of cluster.compat says, then change cluster.compat.RAY"
    assert ray.__version__.startswith(f"{RAY}."), advice
