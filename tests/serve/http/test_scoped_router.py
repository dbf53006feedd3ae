"""A route is declared with the scope of the keys that may call it."""

from __future__ import annotations

from serve.http.scoped_router import ScopedRouter


def test_a_path_has_the_scope_that_its_route_was_declared_with():
    router = ScopedRouter()
    router.scoped("GET", "/open", scope=None)(lambda: None)
    router.scoped("GET", "/models/{name:path}", scope="admin")(lambda: None)
    router.scoped("GET", "/text")(lambda: None)
    assert router.scope_of("/open") is None
    assert router.scope_of("/models/a/b") == "admin"
    for path in ("/text", "/open/", "/open\n", "/a/path/without/a/route"):
        assert router.scope_of(path) == "infer"
