"""What `make mutants` makes of mutmut's answers: which mutants survived, and what is enough."""

from __future__ import annotations

import pytest

from tests import mutants
from tests.mutants import Change, Module, Outcome, read_diff, read_results, read_table

DIFF = """# a.b.xǁQueueǁtake__mutmut_3: survived
--- a/b.py
+++ a/b.py
@@ -1,4 +1,4 @@
 def take(self):
-    return max(
-        self.count - 1, 0)
+    return max(
+        self.count + 1, 0)
     # nothing else changes
"""
TAKE = Change("Queue.take", "return max( self.count - 1, 0)", "return max( self.count + 1, 0)")
SIZE = Change("size", "return 1", "return 2")
EXPLAINED = """
["a/b.py"]
tests = ["tests/test_b.py"]
[["a/b.py".explained]]
function = "size"
before = "return   1"
after = "return 2"
reason = "nobody asks"
"""


def outcome(total: int, *survivors: Change, explained: tuple[Change, ...] = ()) -> Outcome:
    module = Module("a/b.py", (), False, dict.fromkeys(explained, "it is so"))
    return Outcome(module, total, tuple((f"m{n}", one) for n, one in enumerate(survivors)))


def test_a_diff_is_read_as_a_change_of_a_function() -> None:
    assert read_diff("a.b.xǁQueueǁtake__mutmut_3", DIFF) == TAKE
    plain = (
        "# …\n--- a/b.py\n+++ a/b.py\n@@ -1,2 +1,2 @@\n def size():\n-    return 1\n+    return 2\n"
    )
    assert read_diff("a.b.x_size__mutmut_12", plain) == SIZE


def test_results_are_names_and_what_became_of_them() -> None:
    text = "    a.b.x_size__mutmut_1: killed\n    a.b.x_size__mutmut_2: no tests\n\n"
    assert read_results(text) == {
        "a.b.x_size__mutmut_1": "killed",
        "a.b.x_size__mutmut_2": "no tests",
    }


def test_the_table_gives_tests_and_explanations() -> None:
    assert read_table(EXPLAINED) == [
        Module("a/b.py", ("tests/test_b.py",), False, {SIZE: "nobody asks"})
    ]
    with pytest.raises(ValueError, match=r"a/b\.py.*has no reason"):
        read_table(EXPLAINED.replace("nobody asks", ""))


@pytest.mark.parametrize(("total", "passed"), [(10, True), (9, False)])
def test_nine_of_ten_mutants_must_be_killed(total: int, passed: bool) -> None:
    assert outcome(total, TAKE).passed is passed


def test_an_explained_survivor_counts_as_killed() -> None:
    one = outcome(2, SIZE, explained=(SIZE,))
    assert one.passed and one.share == 1 and not one.unexplained
    assert "1 of 2 mutants killed, 1 explained: 100.0%" in one.report()
    assert not outcome(2, SIZE).passed


def test_an_explanation_that_no_longer_applies_is_an_error() -> None:
    one = outcome(100, explained=(TAKE,))
    assert one.share == 1 and not one.passed
    assert "explained, but no survivor: Queue.take" in one.report()


def test_survivors_are_shown() -> None:
    told = outcome(100, TAKE).report()
    assert "survived: Queue.take (m0)" in told and f"+ {TAKE.after}" in told


def test_a_module_without_mutants_is_an_error() -> None:
    assert not outcome(0).passed


def test_the_table_names_files_that_exist() -> None:
    for module in read_table(mutants.TABLE.read_text(encoding="utf-8")):
        for path in (module.path, *module.tests):
            assert (mutants.ROOT / path).is_file(), path
