"""The dialect of CSV: its delimiter, its quotes, and blanks after delimiters."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: From the most to the least probable: the first is taken where several fit equally well.
DELIMITERS = (",", "\t", ";", "|")
_DECLARED = re.compile(r'"?sep=(.)"?\s*')


@dataclass(frozen=True)
class CsvDialect:
    """How records are divided into fields; within quotes, a doubled quote stands for itself."""

    delimiter: str = ","
    quote: str = '"'
    skips_blanks: bool = False

    def reader(self, lines: Iterable[str], strict: bool) -> Iterator[list[str]]:
        """Python's reader of CSV. Where `strict`, csv.Error names a quote that is out of place."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            skipinitialspace=self.skips_blanks,
            strict=strict,
        )


def declared_delimiter(line: str) -> str | None:
    """The delimiter that a first line such as `sep=;` declares, as Excel reads it."""
    match = _DECLARED.fullmatch(line)
    return match.group(1) if match else None


def dialect_of(lines: list[str], complete: bool, delimiter: str | None = None) -> CsvDialect:
    """The dialect in which the records of a file's first lines have as many fields as the header.

    `complete` says that these are all lines, else the last record may be cut. `delimiter` is the
    declared delimiter.
    """
    header = next((line for line in lines if line.strip()), "")
    single = header.lstrip().startswith("'") and header.count("'") % 2 == 0
    quote = "'" if single else '"'
    candidates = [CsvDialect(mark, quote) for mark in (delimiter or "".join(DELIMITERS))]
    best = max(candidates, key=lambda dialect: _consistency(dialect, lines, complete))
    spaced = CsvDialect(best.delimiter, quote, skips_blanks=True)
    return spaced if _skips_blanks(best, spaced, lines, complete) else best


def _sample(dialect: CsvDialect, lines: list[str], complete: bool) -> list[list[str]]:
    records = [record for record in dialect.reader(lines, strict=False) if any(record)]
    return records if complete or len(records) < 3 else records[:-1]


def _consistency(dialect: CsvDialect, lines: list[str], complete: bool) -> float:
    """The share of records with as many fields as the header; -1 if the header has a single field.

    Blanks after delimiters are skipped, so that quotes after them count as such.
    """
    spaced = CsvDialect(dialect.delimiter, dialect.quote, skips_blanks=True)
    records = _sample(spaced, lines, complete)
    if not records or len(records[0]) < 2:
        return -1.0
    same = sum(len(record) == len(records[0]) for record in records)
    return same / len(records)


def _skips_blanks(plain: CsvDialect, spaced: CsvDialect, lines: list[str], complete: bool) -> bool:
    """Whether blanks after delimiters belong to the dialect: in the header, or before quotes."""
    records = _sample(plain, lines, complete)
    if not records or len(records[0]) < 2:
        return False
    if all(name.startswith(" ") for name in records[0][1:]):
        return True
    mark = re.escape(plain.delimiter)
    # A quote before a delimiter closes a field, and doubled quotes stand within a field.
    after = re.compile(f"{mark} +{plain.quote}(?![{plain.quote}{mark}\r\n])")
    begins = re.compile(f" +{plain.quote}")
    fields = (field for record in records for field in record)
    if not any(map(begins.match, fields)) or not any(map(after.search, lines)):
        return False
    records = _sample(spaced, lines, complete)
    if any(len(record) != len(records[0]) for record in records):
        return False
    try:
        list(spaced.reader(lines, strict=True))
    except csv.Error as error:
        return not complete and str(error) == "unexpected end of data"
    return True
