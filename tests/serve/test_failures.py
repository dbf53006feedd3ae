"""Why a replica failed, of what Ray Serve tells at length."""

from __future__ import annotations

from serve.failures import cause

TRACEBACK = """The deployment failed to start 3 times in a row. Error:
ray::ServeReplica:alignery:EngineReplica.initialize() (pid=12, ip=10.0.0.7)
  File "/app/serve/app.py", line 152, in __init__
    raise ValueError("while loading")
ValueError: while loading

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/align/models.py", line 3, in load
    align.errors.ModelError: no model 'nobody/has-this'; expected a folder: or a name
"""


def test_the_last_error_is_the_cause_without_its_type():
    assert cause(TRACEBACK) == "no model 'nobody/has-this'; expected a folder: or a name"


def test_lookups_that_fail_are_errors_too():
    assert cause("trace\ncluster.errors.AdapterNotFound: no adapter 'a/b'") == "no adapter 'a/b'"


def test_an_account_without_an_error_is_one_line():
    assert cause("No machine has\n   2 GPUs.\n") == "No machine has 2 GPUs."
    assert cause("") == ""
