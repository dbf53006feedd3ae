"""Removes from text what tells about a user and his machine. Imports no torch."""

from __future__ import annotations

import re

#: The folders of an absolute path; a URL's `//` and fractions such as 3/4 are no such path.
_FOLDERS = re.compile(r"(?<![\w/.:~])~?/(?:[^\s/:'\",;()]+/)+")


def without_paths(text: str) -> str:
    """The text with `…/name` in place of each absolute path to `name`."""
    return _FOLDERS.sub("…/", text)
