"""What a replica failed of, out of Serve's account of it."""

from __future__ import annotations

import re

# The last line of a traceback: the exception's type and its message.
_RAISED = re.compile(r"^\s*(?:\w+\.)*\w*(?:Error|Exception|NotFound): (.+)$", re.MULTILINE)


def cause(account: str) -> str:
    """The replica's own error out of Serve's account of a failed deployment."""
    found = _RAISED.findall(account)
    return str(found[-1]) if found else " ".join(account.split())
