"""Text that is not in its encoding: where, and in which code page it probably is."""

from __future__ import annotations

import codecs
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from align.data.row_numbers import shortened

#: Code pages by the name that iconv knows, and characters that are frequent in texts written in
#: them. A page is likely if its frequent characters are many among those beyond ASCII.
_FREQUENT = {
    "CP1252": "éèàüöäßñçóíáúêôâîãõåæøœ’‘“”–—…€°«»ÉÄÖÜ",
    "CP932": "のにはをたがでてとしるれさいまあこなもすかっん、。ーアイスントラリル日本人",
    "EUC-JP": "のにはをたがでてとしるれさいまあこなもすかっん、。ーアイスントラリル日本人",
    "GB18030": "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下，。？、",
    "BIG5": "的一是不了在人有我他這中大來上國個到說們為子和你地出道也時年得就那要下，。？、",
    "CP949": "이다는을의에가고하지한로기사어나자도리인시라그해대서요은있니습",
    "CP1251": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэф",
    "KOI8-R": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэф",
    "CP1250": "ąęłńśżźćčšžřěůőűýáíéóťďĽľ",
    "CP1253": "αβγδεζηθικλμνξοπρστυφχψωάέήίόύώς",
    "CP1254": "ışğçöüİ",
    "CP1256": "اليمنتربدسعفهكحقوجىةأ",
    "CP1255": "אבגדהוזחטיכלמנסעפצקרשתםןךףץ",
    "MACINTOSH": "éèàüöäßñçóíáúêôâ’“”–—…",
}
_PYTHON_NAMES = {"MACINTOSH": "mac_roman"}
#: A surrogate in the form that UTF-8 would give it, if it allowed surrogates.
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_SAMPLE_LINES = 200
_SAMPLE_BYTES = 4096
_LIKELY = 0.3


def likely_code_page(samples: list[bytes]) -> str | None:
    """The code page in which `samples` read as texts of a language; None if there is none."""
    scores = {name: _score(samples, name) for name in _FREQUENT}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] >= _LIKELY else None


def _score(samples: list[bytes], name: str) -> float:
    """The share of frequent characters among those beyond ASCII; 0 if it cannot be decoded."""
    try:
        text = "".join(_decoded(sample, name) for sample in samples)
    except UnicodeDecodeError:
        return 0.0
    beyond = [character for character in text if ord(character) > 127]
    return sum(character in _FREQUENT[name] for character in beyond) / max(len(beyond), 1)


def _decoded(sample: bytes, name: str) -> str:
    """The text of a sample that may end within a character."""
    decoder = codecs.getincrementaldecoder(_PYTHON_NAMES.get(name, name))()
    return decoder.decode(sample)


def not_utf8(path: Path, lines: Iterable[bytes]) -> str:
    """Why `lines` are not UTF-8: the first such byte, and the command that converts the file."""
    place, wrong, right = "", list[bytes](), 0
    for number, line in enumerate(lines, start=1):
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            right += 1
        except UnicodeDecodeError as error:
            column = len(line[: error.start].decode("utf-8", "replace")) + 1
            place = (
                place or f"line {number}, column {column} holds the byte 0x{line[error.start]:02X}"
            )
            wrong.append(_around(line, error.start))
        if wrong and len(wrong) + right > _SAMPLE_LINES:
            break
    if right > len(wrong):
        remedy = "other lines are UTF-8, so this is a damaged character: mend or remove it"
    else:
        remedy = _remedy(path, wrong)
    return f"{path}: not UTF-8 text: {place}; {remedy}"


def _around(line: bytes, start: int) -> bytes:
    """The line from shortly before its first wrong byte on, which is not cut within a character."""
    before = line[max(start - 12, 0) : start]
    return (before if before.isascii() else b"") + line[start : start + _SAMPLE_BYTES]


def _remedy(path: Path, wrong: list[bytes]) -> str:
    if any(map(_SURROGATE.search, wrong)):
        return "it is half of a surrogate pair, as a cut emoji leaves: remove it"
    page = likely_code_page(wrong)
    if page is None:
        return "save the file as UTF-8"
    text = _decoded(wrong[0], page)
    excerpt = shortened(text.splitlines()[0], 30)
    return f"it is probably {page}, as which it reads {excerpt}; convert it: {_command(path, page)}"


def _command(path: Path, page: str) -> str:
    """The shell's command that writes the file in UTF-8 beside it."""
    source, convert = shlex.quote(str(path)), f"iconv -f {page} -t UTF-8"
    unpack = {".gz": "gunzip", ".zst": "unzstd"}.get(path.suffix.lower())
    plain = path if unpack is None else path.with_suffix("")
    target = shlex.quote(f"{plain.with_suffix('')}.utf8{plain.suffix}")
    if unpack is not None:
        return f"{unpack} -c {source} | {convert} > {target}"
    return f"{convert} {source} > {target}"
