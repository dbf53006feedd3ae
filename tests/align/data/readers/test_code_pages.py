"""Text that is not UTF-8: the first such byte, and the code page it is probably in."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.align.data.written import refusal, written

TEXTS = {
    "cp1252": "Où est le café? À côté de l’église, “bien sûr”. Grüße aus München, señor.",
    "cp932": "日本の首都はどこですか。東京です。カレーライスを食べました。",
    "euc-jp": "日本の首都はどこですか。東京です。カレーライスを食べました。",
    "gb18030": "中国的首都是哪里？是北京。我们在这里学习，他说你好。",
    "big5": "中國的首都是哪裡？是北京。我們在這裡學習，他說你好。",
    "cp949": "대한민국의 수도는 어디입니까? 서울입니다. 나는 학교에 가고 있습니다.",
    "cp1251": "Какой город столица России? Москва, конечно же.",
    "koi8-r": "Какой город столица России? Москва, конечно же.",
    "cp1250": "Zażółć gęślą jaźń. Příliš žluťoučký kůň.",
    "cp1253": "Ποια είναι η πρωτεύουσα της Ελλάδας; Η Αθήνα.",
    "mac_roman": "Où est le café? À côté de l’église. Grüße aus München.",
}
NAMES = {"mac_roman": "MACINTOSH"}


def knows(page: str) -> bool:
    """Whether the machine's iconv converts from this code page."""
    command = ["iconv", "-f", page, "-t", "UTF-8"]
    iconv = shutil.which("iconv")
    return iconv is not None and subprocess.run(command, input=b"").returncode == 0


@pytest.mark.parametrize("codec", TEXTS)
@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_the_code_page_is_named_with_the_command_that_converts(tmp_path, codec, name) -> None:
    text = TEXTS[codec]
    head = "prompt,completion\nplain,text\n" if name.endswith("csv") else '{"prompt": "plain"}\n\n'
    row = f'x,"{text}"\n' if name.endswith("csv") else f'{{"prompt": "{text}"}}\n'
    path = written(tmp_path, name, (head + row).encode(codec))
    message = refusal(path)
    first = next(index for index, character in enumerate(row) if ord(character) > 127)
    page = NAMES.get(codec, codec.upper())
    assert f"line 3, column {first + 1} holds the byte 0x" in message
    assert f"probably {page}, as which it reads" in message
    if not knows(page):
        pytest.skip(f"iconv knows no {page} here")
    subprocess.run(message.split("convert it: ")[1], shell=True, check=True)
    assert (tmp_path / name.replace(".", ".utf8.")).read_text(encoding="utf-8").endswith(row)


@pytest.mark.parametrize("codec", ["cp932", "gb18030", "cp1252"])
def test_long_lines_of_which_a_part_is_looked_at(tmp_path: Path, codec: str) -> None:
    rows = "".join(f'{{"prompt": "{"x" * n}{TEXTS[codec] * 200}"}}\n' for n in range(4))
    message = refusal(written(tmp_path, "rows.jsonl", rows.encode(codec)))
    assert f"probably {codec.upper()}, as which it reads" in message


def test_a_compressed_file_is_converted_by_way_of_unpacking(tmp_path: Path) -> None:
    content = f'prompt,completion\nx,"{TEXTS["cp1252"]}"\n'
    path = written(tmp_path, "my rows.csv.gz", gzip.compress(content.encode("cp1252")))
    message = refusal(path)
    assert "gunzip -c" in message
    if not knows("CP1252"):
        pytest.skip("iconv knows no CP1252 here")
    subprocess.run(message.split("convert it: ")[1], shell=True, check=True)
    assert (tmp_path / "my rows.utf8.csv").read_text(encoding="utf-8") == content


def test_a_damaged_character_among_good_lines(tmp_path: Path) -> None:
    content = '{"prompt": "café"}\n'.encode() * 3 + b'{"prompt": "caf\xc3"}\n'
    message = refusal(written(tmp_path, "rows.jsonl", content))
    assert "line 4, column 16 holds the byte 0xC3" in message and "damaged character" in message


def test_bytes_of_half_a_surrogate_pair(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, "rows.jsonl", b'{"prompt": "a \xed\xa0\xbd"}\n'))
    assert "line 1, column 15" in message and "surrogate" in message


def test_bytes_in_no_code_page(tmp_path: Path) -> None:
    row = b'{"prompt": "\xa9\xae\xb1\xb6\xac\xb5"}'
    message = refusal(written(tmp_path, "rows.jsonl", row))
    assert message.endswith("save the file as UTF-8")
