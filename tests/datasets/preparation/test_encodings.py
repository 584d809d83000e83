"""Encodings: what is guessed on the clean corpus in all of them, what is refused, and that no byte is lost."""

from __future__ import annotations

import gzip
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.datasets.encodings.decode import decode
from service.datasets.encodings.detect import detect
from service.datasets.encodings.names import CODECS, UnknownEncoding, encoding_named
from service.datasets.encodings.scan import SAMPLE_BYTES, SAMPLES, scan
from service.datasets.preparation.options import Columns
from service.datasets.preparation.refusals import PreparationRefused
from tests.datasets.preparation.sources import Made, make
from tests.datasets.rows import findings_of, report_on

CORPUS = Path(__file__).parents[2] / "corpus" / "clean"
_WESTERN = ("windows-1252", "iso-8859-15", "macintosh", "ibm850", "ibm437")
_CENTRAL = ("windows-1250", "iso-8859-2", "x-mac-ce", "ibm852")
_CYRILLIC = ("windows-1251", "iso-8859-5", "x-mac-cyrillic", "ibm866", "koi8-r")
_BALTIC = ("windows-1257", "iso-8859-13")
LANGUAGES = {
    **dict.fromkeys(("german", "french", "spanish", "portuguese", "italian", "catalan", "dutch", "swedish"), _WESTERN),
    **dict.fromkeys(("danish", "norwegian", "finnish", "icelandic", "irish"), _WESTERN[:3]),
    **dict.fromkeys(("czech", "polish", "hungarian", "slovak", "croatian", "serbian-latin", "romanian"), _CENTRAL),
    **dict.fromkeys(("russian", "bulgarian"), _CYRILLIC),
    "ukrainian": ("windows-1251", "iso-8859-5", "koi8-u"),
    **dict.fromkeys(("belarusian", "serbian-cyrillic", "macedonian"), ("windows-1251", "iso-8859-5")),
    "greek": ("windows-1253", "iso-8859-7"),
    "turkish": ("windows-1254",),
    "hebrew": ("windows-1255", "iso-8859-8"),
    "arabic": ("windows-1256", "iso-8859-6"),
    "persian": ("windows-1256",),
    **dict.fromkeys(("lithuanian", "latvian"), _BALTIC),
    "estonian": (*_BALTIC, "windows-1252"),
    "vietnamese": ("windows-1258",),
    "thai": ("windows-874",),
    "japanese": ("shift_jis", "euc-jp"),
    "korean": ("euc-kr",),
    "chinese-simplified": ("gb18030",),
    "chinese-traditional": ("big5", "gb18030"),
}
ENGLISH = [line for line in (CORPUS / "english.txt").read_text("utf-8").splitlines() if line.isascii()] or ["Yes."]


def encoded(language: str, encoding: str) -> list[str]:
    """The lines of the corpus that can be written in an encoding."""
    lines = []
    for text in (CORPUS / f"{language}.txt").read_text("utf-8").splitlines():
        line = vietnamese(text) if encoding == "windows-1258" else text
        try:
            line.encode(CODECS[encoding])
        except UnicodeEncodeError:
            continue
        if not line.isascii():
            lines.append(line)
    return lines


def vietnamese(text: str) -> str:
    """Tones as characters of their own, as Windows-1258 has them."""
    tones = "\u0300\u0301\u0303\u0309\u0323"
    made = ""
    for char in text:
        parts = unicodedata.normalize("NFD", char)
        base = unicodedata.normalize("NFC", "".join(each for each in parts if each not in tones))
        made += base + "".join(each for each in parts if each in tones)
    return made


def as_text(lines: list[str]) -> str:
    return "\n".join(lines)


def as_mostly_english(lines: list[str]) -> str:
    """JSON Lines in which only the last line is not English."""
    rows = [*([ENGLISH[0]] * 9), lines[0]]
    return "\n".join(json.dumps({"prompt": "Say:", "completion": row}, ensure_ascii=False) for row in rows)


SHAPES = {"text": as_text, "mostly English": as_mostly_english}


def matrix() -> Iterator[tuple[str, str, str, str]]:
    """Language, encoding, shape and text."""
    for language, encodings in LANGUAGES.items():
        for encoding in encodings:
            if lines := encoded(language, encoding):
                for shape, make_text in SHAPES.items():
                    yield language, encoding, shape, make_text(lines)


def test_no_guess_that_is_called_likely_is_wrong_and_few_are_uncertain() -> None:
    """Floors: what was measured, less two files in a hundred."""
    total, right, likely = Counter[str](), Counter[str](), Counter[str]()
    wrong = []
    for language, encoding, shape, text in matrix():
        data = text.encode(CODECS[encoding])
        found = detect(scan(iter([data])).foreign)
        same = decode(data, found.encoding) == text
        total[shape] += 1
        right[shape] += same
        likely[shape] += found.certainty == "likely"
        if found.certainty == "likely" and not same:
            wrong.append((language, encoding, shape, found.encoding, found.other))
    assert wrong == []
    assert {shape for shape in SHAPES if right[shape] < 0.95 * total[shape]} == set()
    assert {shape for shape in SHAPES if likely[shape] < 0.9 * total[shape]} == set()


CZECH = "Kdy přijede příští tramvaj?"
CZECH_ANSWER = "Nejbližší přijede v šest hodin, děkujeme za trpělivost."


def chat_line(question: str, answer: str) -> str:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages}, ensure_ascii=False) + "\n"


def table(question: str = CZECH, answer: str = CZECH_ANSWER) -> str:
    return f'question,answer\n"{question}","{answer}"\n'


def refused(data: bytes, *, filename: str = "a.jsonl", encoding: str | None = None) -> PreparationRefused:
    with pytest.raises(PreparationRefused) as caught:
        make(data, filename=filename, encoding=encoding)
    return caught.value


def note(made: Made) -> str:
    return " ".join(made.result.notes)


class TestDetection:
    def test_a_likely_guess_is_said_with_a_sample(self) -> None:
        made = make(table().encode("cp1250"), filename="a.csv")
        assert made.pairs == [(CZECH, CZECH_ANSWER)]
        assert made.result.input is not None
        assert made.result.input.encoding.certainty == "likely"
        assert made.result.options.encoding == "windows-1250"
        assert "Decoded as windows-1250 (likely); for example `Nejbližší přijede`" in note(made)

    def test_a_weak_guess_stops_with_both_readings(self) -> None:
        error = refused("question,answer\nPřijde?,Ano\n".encode("iso8859-2"), filename="a.csv")
        assert error.code == "encoding_uncertain"
        assert error.param == "encoding"
        assert "`Pøijde?` in windows-1252 is `Přijde?` in windows-1250" in error.message

    def test_a_given_encoding_is_not_guessed(self) -> None:
        made = make("question,answer\nPřijde?,Ano\n".encode("iso8859-2"), filename="a.csv", encoding="latin2")
        assert made.pairs == [("Přijde?", "Ano")]
        assert made.result.input is not None
        assert made.result.input.encoding.certainty == "given"
        assert made.result.options.encoding == "iso-8859-2"

    @pytest.mark.parametrize("text", ["Why?", "Größe 5 €", "你好", "🙂"])
    def test_utf8_is_certain_and_nothing_is_said(self, text: str) -> None:
        made = make(chat_line(text, "Yes.").encode())
        assert made.result.input is not None
        assert made.result.input.encoding.value == "utf-8"
        assert made.result.input.encoding.certainty == "certain"
        assert "ecoded" not in note(made)

    def test_the_header_is_decoded_as_the_rows_are(self) -> None:
        data = f"příští otázka;odpověď\n{CZECH};{CZECH_ANSWER}\n".encode("cp1250")
        made = make(data, filename="a.csv", columns=Columns(prompt="příští otázka", answer="odpověď"))
        assert made.pairs == [(CZECH, CZECH_ANSWER)]

    def test_gzip_changes_nothing(self) -> None:
        made = make(gzip.compress(table().encode("cp1250")), filename="a.csv.gz")
        assert made.pairs == [(CZECH, CZECH_ANSWER)]

    def test_a_json_array_on_one_line(self) -> None:
        made = make(json.dumps([{"question": CZECH, "answer": CZECH_ANSWER}], ensure_ascii=False).encode("cp1250"))
        assert made.pairs == [(CZECH, CZECH_ANSWER)]

    @pytest.mark.parametrize("at", [0, 700, 1_999])
    def test_foreign_words_are_found_anywhere(self, at: int) -> None:
        lines = [chat_line("Why so?", "Because it is.")] * 2_000
        data = "".join([*lines[:at], chat_line(CZECH, CZECH_ANSWER), *lines[at:]]).encode("cp1250")
        assert scan(iter([data[:100_000], data[100_000:]])).foreign
        assert make(data, fixes=("reencode_utf8",)).rows[at]["messages"][0]["content"] == CZECH

    def test_the_sample_is_bounded_and_has_the_end_of_the_file(self) -> None:
        data = "".join(f"Příliš žluťoučký kůň číslo {number}\n" for number in range(400_000)).encode("cp1250")
        foreign = scan(data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)).foreign
        assert len(foreign) <= (SAMPLES + 1) * 2 * SAMPLE_BYTES
        numbers = [int(line.rsplit(b" ", 1)[1]) for line in foreign.splitlines() if line[-1:].isdigit()]
        assert min(numbers) < 40_000
        assert max(numbers) > 360_000


class TestMixedFiles:
    def test_each_line_in_its_encoding_and_their_numbers(self) -> None:
        data = chat_line("你好 – 你好", "好").encode() * 2 + chat_line(CZECH, CZECH_ANSWER).encode("cp1250")
        made = make(data, fixes=("reencode_utf8",))
        assert [row["messages"][0]["content"] for row in made.rows] == ["你好 – 你好"] * 2 + [CZECH]
        assert "2 in utf-8, 1 in windows-1250" in note(made)

    def test_also_in_json(self) -> None:
        items = [{"question": "你好", "answer": "好"}, {"question": CZECH, "answer": CZECH_ANSWER}]
        texts = [json.dumps(item, ensure_ascii=False) for item in items]
        made = make(b"[" + texts[0].encode() + b"," + texts[1].encode("cp1250") + b"]")
        assert made.pairs == [("你好", "好"), (CZECH, CZECH_ANSWER)]

    def test_a_line_of_chinese_that_is_valid_utf8_by_chance(self) -> None:
        texts = ["这是什么问题?", "我们的回答在这里,请您看一看。", "没"]
        made = make("\n".join(texts).encode("gb18030"), filename="a.txt")
        assert [row["completion"].strip() for row in made.rows] == texts

    def test_a_line_in_neither_encoding_is_a_problem(self) -> None:
        lines = [chat_line("これはなんですか?", "これはテストの答えです。").encode("cp932")] * 3
        broken = chat_line("Why?", "x").encode().replace(b"x", b"\x81 ")
        data = b"".join([*lines, broken])
        assert "line 4: byte 0x81 at position" in refused(data).message
        assert "is neither utf-8 nor shift_jis" in refused(data).message
        made = make(data, fixes=("reencode_utf8", "drop_unreadable"))
        assert len(made.rows) == 3
        assert made.result.rows_dropped == {"drop_unreadable": 1}

    def test_the_undefined_bytes_of_windows_1252_are_controls(self) -> None:
        text = chat_line("Größe und Maß?", "Müßig – „ja“ für 5 €, schön.").encode("cp1252")
        made = make(text + text.replace(b"5", b"\x81"), fixes=("reencode_utf8",))
        assert "für \x81 €" in made.rows[1]["messages"][1]["content"]


class TestUnicode:
    @pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
    @pytest.mark.parametrize("text", [table(), table("你好,问题是什么?", "我们的回答在这里,请您看一看。")])
    def test_wide_files_with_and_without_a_bom(self, codec: str, text: str) -> None:
        made = make(text.encode(codec), filename="a.csv", piece_bytes=7)
        assert f'"{made.pairs[0][0]}","{made.pairs[0][1]}"' in text
        assert made.result.options.encoding == codec.replace("-le", "le").replace("-be", "be")
        assert made.result.input is not None
        assert made.result.input.encoding.certainty == ("certain" if codec in ("utf-16", "utf-32") else "likely")

    @pytest.mark.parametrize("cut", [1, 3])
    def test_a_file_that_was_cut_within_a_character(self, cut: int) -> None:
        data = (chat_line("Why?", "Because.") * 2).encode("utf-16")[:-cut]
        assert "line 2: its utf-16 is damaged" in refused(data).message or cut == 1
        assert "damaged" in refused(data).message

    def test_half_of_a_surrogate_pair_in_utf16(self) -> None:
        data = chat_line("Why?", "x").encode("utf-16-le").replace("x".encode("utf-16-le"), b"\x3d\xd8")
        assert "line 1: its utf-16le is damaged: half of a surrogate pair" in refused(data).message

    def test_boms_that_were_written_twice_or_came_with_a_second_file(self) -> None:
        line = chat_line("Why?", "Because.").encode()
        bom = b"\xef\xbb\xbf"
        made = make(bom + bom + line + bom + line.replace(b"Why", b"Who"))
        assert [row["messages"][0]["content"] for row in made.rows] == ["Why?", "Who?"]
        assert made.result.changes["strip_bom"] == 3

    def test_surrogate_pairs_in_utf8_become_their_character(self) -> None:
        made = make(chat_line("Why?", "x").encode().replace(b"x", b"\xed\xa0\xbd\xed\xb8\x80"))
        assert made.pairs == [("Why?", "😀")]
        assert made.changes[0]["fix"] == "reencode_utf8"

    def test_half_of_a_pair_in_utf8_is_named(self) -> None:
        error = refused(chat_line("Why?", "x").encode().replace(b"x", b"\xed\xa0\xbd"))
        assert "line 1: it has half of a surrogate pair" in error.message

    def test_the_nul_of_javas_utf8(self) -> None:
        made = make(chat_line("Why?", "ax").encode().replace(b"x", b"\xc0\x80"))
        assert made.pairs == [("Why?", "a")]
        assert {"reencode_utf8", "strip_nul_bytes"} <= set(made.result.changes)


class TestEscapes:
    @pytest.mark.parametrize(
        ("encoding", "question", "answer"),
        [
            ("iso2022_jp", "これはなんですか?", "これはテストの答えです。"),
            ("iso2022_kr", "이것은 무엇입니까?", "이것은 대답입니다."),
        ],
    )
    def test_iso_2022_is_recognised(self, encoding: str, question: str, answer: str) -> None:
        made = make((chat_line(question, answer) * 2).encode(encoding), fixes=("reencode_utf8",))
        assert made.pairs == [(question, answer)] * 2
        assert made.result.options.encoding == encoding.replace("2022_", "-2022-")
        assert "by its escape sequences" in note(made)

    def test_hz_if_it_is_given(self) -> None:
        assert make(chat_line("你好", "好").encode("hz"), encoding="hz").pairs == [("你好", "好")]
        assert make(chat_line("a ~{ b", "好").encode()).pairs == [("a ~{ b", "好")]


class TestGivenEncodings:
    @pytest.mark.parametrize(
        ("label", "name"),
        [
            ("utf8", "utf-8"), ("UTF-8", "utf-8"), ("cp1250", "windows-1250"), ("win1250", "windows-1250"),
            ("Windows-1250", "windows-1250"), ("1251", "windows-1251"), ("latin1", "iso-8859-1"),
            ("latin-2", "iso-8859-2"), ("ISO 8859-2", "iso-8859-2"), ("ISO_8859-15", "iso-8859-15"),
            ("latin9", "iso-8859-15"), ("macroman", "macintosh"), ("mac", "macintosh"), ("koi8r", "koi8-r"),
            ("sjis", "shift_jis"), ("Shift-JIS", "shift_jis"), ("gbk", "gb18030"), ("GB2312", "gb18030"),
            ("cp866", "ibm866"), ("DOS-850", "ibm850"), ("cp949", "euc-kr"), ("eucJP", "euc-jp"),
            ("UTF-16LE", "utf-16le"), ("ISO-2022-JP", "iso-2022-jp"),
        ],
    )  # fmt: skip
    def test_labels_that_people_write(self, label: str, name: str) -> None:
        assert encoding_named(label) == name

    @pytest.mark.parametrize(
        "label",
        ["rot13", "base64", "hex", "idna", "punycode", "unicode_escape", "utf-7", "zlib", "mbcs", "", "cp9999", "é"],
    )
    def test_other_names_are_refused_with_the_list(self, label: str) -> None:
        with pytest.raises(UnknownEncoding, match="Encodings: utf-8, utf-16"):
            encoding_named(label)

    def test_ansi_is_ambiguous(self) -> None:
        with pytest.raises(UnknownEncoding, match="not one encoding; give windows-1252"):
            encoding_named("ANSI")

    @pytest.mark.parametrize("name", CODECS)
    def test_every_encoding_has_a_codec_and_is_its_own_label(self, name: str) -> None:
        assert encoding_named(name) == encoding_named(name.upper()) == name
        if not name.startswith("utf"):
            assert decode("abc".encode(CODECS[name]), name) == "abc"

    def test_bytes_that_are_not_in_it_are_refused(self) -> None:
        data = chat_line("Why?", "Yes.") + chat_line("Größe?", "Ja.")
        message = refused(data.encode("cp1252"), encoding="utf-8").message
        assert message.startswith("line 2: byte 0xf6 at position 46 is not utf-8; give another encoding")
        assert "is not euc-jp" in refused(data.encode("cp1252"), encoding="euc-jp").message

    @pytest.mark.parametrize(
        ("data", "encoding", "words"),
        [
            (chat_line("a", "b").encode("utf-16"), "cp1250", "byte order mark of utf-16, so it is not windows-1250"),
            (chat_line("a", "b").encode("utf-8-sig"), "cp1250", "byte order mark of utf-8, so it is not windows-1250"),
            (chat_line("a", "b").encode(), "utf-16", "The file is not utf-16"),
        ],
    )
    def test_it_may_not_contradict_the_first_bytes(self, data: bytes, encoding: str, words: str) -> None:
        error = refused(data, encoding=encoding)
        assert words in error.message
        assert error.param == "encoding"

    def test_it_applies_without_the_fix(self) -> None:
        made = make(chat_line(CZECH, CZECH_ANSWER).encode("cp1250"), fixes=(), encoding="cp1250")
        assert made.pairs == [(CZECH, CZECH_ANSWER)]
        assert made.result.changes == {"reencode_utf8": 1}


class TestReports:
    def test_the_likely_encoding_is_named_with_a_sample(self) -> None:
        report = report_on(chat_line("Why?", "Yes.").encode() + chat_line(CZECH, CZECH_ANSWER).encode("cp1250"))
        (finding,) = findings_of(report, "not_utf8")
        assert "Its bytes look like windows-1250, as in `Nejbližší přijede`" in finding.message

    def test_also_when_the_bytes_come_in_several_blocks(self) -> None:
        lines = chat_line("Why?", "Yes.").encode() * 20_000
        report = report_on(lines + chat_line(CZECH, CZECH_ANSWER).encode("cp1250") + lines)
        assert "windows-1250" in findings_of(report, "not_utf8")[0].message

    def test_an_uncertain_one_is_not(self) -> None:
        (finding,) = findings_of(report_on(chat_line("Přijde?", "Ano").encode("iso8859-2")), "not_utf8")
        assert finding.message.endswith("save the file as UTF-8.")

    @pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
    def test_wide_files_without_a_bom_are_named_once(self, codec: str) -> None:
        report = report_on((chat_line(CZECH, CZECH_ANSWER) * 12).encode(codec))
        assert report.counts == {"not_text_file": 1}
        assert codec.replace("-le", "le").replace("-be", "be") in report.findings[0].message
