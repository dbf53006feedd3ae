"""The cause of a replica's failure, extracted from Ray Serve's error message."""

from __future__ import annotations

import re

# The last line of a traceback: the exception's type and its message.
_RAISED = re.compile(r"^\s*(?:\w+\.)*\w*(?:Error|Exception|NotFound): (.+)$", re.MULTILINE)


def cause(account: str) -> str:
    """The last error in `account`, Ray Serve's message; else all of it on a single line."""
    messages = _RAISED.findall(account)
    return str(messages[-1]) if messages else " ".join(account.split())
