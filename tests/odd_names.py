"""Names of folders whose characters mean something in URLs, shells, globs or templates."""

import unicodedata

#: Each pair is one folder to a program that decodes, cuts or normalises a path.
ODD_NAMES = (
    "q?1",
    "q?2",
    "q",
    "a#1",
    "a#2",
    "per%20cent",
    "per cent",
    "100%",
    "%%",
    "a:b@c",
    "me:secret@host",
    "a&b+c;d=e",
    "a b c d e",
    'it\'s "quoted"',
    "back\\slash",
    "line\nbreak",
    unicodedata.normalize("NFC", "Überété"),
    unicodedata.normalize("NFD", "Überété"),
    "日本語",
    "-rf",
    "trailing.",
    "in~the~middle",
    "{SCHEMA_VERSION}",
    "[0-9]*",
    "$HOME",
    "file:x",
    ":memory:",
)
