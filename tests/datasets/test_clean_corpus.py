"""No check of characters fires on clean text in over sixty languages and kinds, and no fix of characters changes it.

The same texts, read in wrong encodings, are found and restored. The floors are measured; raise them, never lower them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from ftfy.chardata import UTF8_CLUES

from service.datasets.checks import CHECKS
from service.datasets.mojibake.diagnosis import first_sign, repaired
from service.datasets.mojibake.signs import CONTINUATION, LEADS_OF_2, LEADS_OF_3, SIGNS_IN_BYTES
from service.datasets.preparation.options import SAFE_FIXES
from tests.corpus import CLEAN
from tests.datasets.preparation.sources import make
from tests.datasets.rows import asked, jsonl, report_on

CHARACTERS = {"mojibake", "c1_control", "control_character", "invisible_character", "mixed_languages"}
SIGNS = re.compile(SIGNS_IN_BYTES)
ENCODINGS = {
    "latin-1": (100, 100),
    "sloppy-windows-1252": (100, 100),
    "sloppy-windows-1250": (99, 99),
    "sloppy-windows-1251": (96, 96),
    "sloppy-windows-1253": (99, 99),
    "sloppy-windows-1254": (100, 100),
    "sloppy-windows-1257": (99, 97),
    "iso-8859-2": (99, 95),
    "mac_roman": (100, 100),
    "cp437": (97, 97),
    "cp850": (89, 86),
    "cp866": (90, 90),
    "koi8-r": (96, 96),
}
CYRILLIC = ("russian", "ukrainian", "bulgarian", "belarusian", "serbian-cyrillic", "macedonian")
OTHERS = {
    ("gb18030", "cp1252", ("chinese-simplified",)): (100, 100),
    ("gbk", "latin-1", ("chinese-simplified",)): (100, 100),
    ("big5", "latin-1", ("chinese-traditional", "cantonese")): (100, 80),
    ("shift_jis", "latin-1", ("japanese",)): (100, 50),
    ("euc_jp", "latin-1", ("japanese",)): (100, 50),
    ("cp949", "latin-1", ("korean",)): (100, 100),
    ("cp1251", "koi8-r", CYRILLIC): (69, 69),
    ("cp1251", "cp866", CYRILLIC): (78, 78),
    ("koi8-r", "cp1251", CYRILLIC): (100, 100),
    ("cp866", "koi8-r", CYRILLIC): (100, 100),
    ("cp1251", "latin-1", CYRILLIC): (100, 91),
    ("koi8-r", "latin-1", CYRILLIC): (100, 100),
    ("cp866", "latin-1", CYRILLIC): (100, 100),
    ("cp1253", "cp1252", ("greek",)): (100, 100),
    ("cp1253", "latin-1", ("greek",)): (100, 100),
    ("cp1255", "latin-1", ("hebrew",)): (100, 100),
    ("cp1256", "latin-1", ("arabic", "persian", "urdu")): (100, 100),
    ("cp874", "latin-1", ("thai",)): (100, 100),
}


def shares(texts: Iterable[str], real: str, wrong: str) -> tuple[int, int]:
    """The percentages of texts in encoding `real`, read as `wrong`, that are found and that are restored exactly."""
    count = found = restored = 0
    for text in texts:
        try:
            misread = text.encode(real).decode(wrong)
        except UnicodeError:
            continue
        if misread != text:
            count += 1
            found += first_sign(misread) is not None and SIGNS.search(misread.encode()) is not None
            restored += repaired(misread) == text
    assert count
    print(f"{real} read as {wrong}: {count} texts, {found} found, {restored} restored exactly")
    return 100 * found // count, 100 * restored // count


def every_text() -> list[str]:
    return [text for texts in CLEAN.values() for text in texts]


def test_the_corpus_has_many_languages() -> None:
    assert len(CLEAN) > 60
    assert all(len(texts) >= 3 for texts in CLEAN.values())


def test_the_signs_are_those_of_ftfy() -> None:
    def members(inside: str) -> set[str]:
        return set(re.findall(f"[{inside}]", "".join(map(chr, range(0x80, 0x3000)))))

    assert members(LEADS_OF_2) == members(UTF8_CLUES["utf8_first_of_2"])
    assert members(LEADS_OF_3) == members(UTF8_CLUES["utf8_first_of_3"] + UTF8_CLUES["utf8_first_of_4"])
    assert members(CONTINUATION) == members(UTF8_CLUES["utf8_continuation"])


def test_no_check_of_characters_fires() -> None:
    assert set(CHECKS) >= CHARACTERS
    found: dict[tuple[str, str], int] = {}
    for language, texts in CLEAN.items():
        counts = report_on(jsonl(*[asked("?", text) for text in texts])).counts
        found |= {(language, code): counts[code] for code in CHARACTERS & set(counts)}
    print(f"false positives on {len(every_text())} texts: {sum(found.values())}")
    assert not found


@pytest.mark.parametrize("fixes", [sorted(SAFE_FIXES), ["repair_mojibake"]], ids=["safe", "repair_mojibake"])
def test_no_fix_changes_it(fixes: list[str]) -> None:
    rows = [asked(f"Question {number}?", text) for number, text in enumerate(every_text())]
    assert make(jsonl(*rows), fixes=fixes).rows == rows


@pytest.mark.parametrize("wrong", ENCODINGS)
def test_utf8_that_was_read_wrongly_is_found_and_restored(wrong: str) -> None:
    found, restored = shares(every_text(), "utf-8", wrong)
    assert (found, restored) >= ENCODINGS[wrong]
    assert restored >= ENCODINGS[wrong][1]


@pytest.mark.parametrize(("real", "wrong", "languages"), OTHERS)
def test_other_encodings_that_were_read_wrongly_are_found(real: str, wrong: str, languages: tuple[str, ...]) -> None:
    found, restored = shares((text for language in languages for text in CLEAN[language]), real, wrong)
    assert found >= OTHERS[real, wrong, languages][0]
    assert restored >= OTHERS[real, wrong, languages][1]


@pytest.mark.parametrize("times", [2, 3])
def test_mojibake_of_mojibake_is_restored(times: int) -> None:
    for text in every_text():
        misread = text
        for _ in range(times):
            misread = misread.encode().decode("sloppy-windows-1252")
        assert repaired(misread) == text


def test_c1_characters_are_restored() -> None:
    count = restored = 0
    for text in every_text():
        try:
            misread = text.encode("cp1252").decode("latin-1")
        except UnicodeError:
            continue
        if re.search("[\x80-\x9f]", misread):
            sign = first_sign(misread)
            assert sign is not None
            count += 1
            restored += repaired(misread) == text
    print(f"{count} texts with C1 characters: {restored} restored exactly")
    assert restored >= 0.95 * count


def test_capitals_before_punctuation_are_no_evidence_but_stay_right_beside_what_is() -> None:
    text = "«BOA MANHÃ» e “LÃ” — cafÃ© e Ã©poca"
    assert repaired(text) == "«BOA MANHÃ» e “LÃ” — café e época"
    assert first_sign("A VILÃ» fechou.") is None


def test_only_the_encoding_is_repaired() -> None:
    for text in ("“quotes” ﬁ ﬀ ＡＢＣ &amp; e\u0301 ｶﾞ \x1b[31m", "cafÃ© “quotes” ﬁ &eacute; ＡＢＣ e\u0301 \x1b[31m"):
        assert repaired(text) == text.replace("cafÃ©", "café")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cafÃ© noir", "“cafÃ©” is UTF-8 that was read as Latin-1; it was “café” before. Repair the text."),
        ("a РџСЂРёРІРµС‚ b", "“РџСЂРёРІРµС‚” is UTF-8 that was read as"),
        ("don\x92t", "U+0092 is a character of Windows-1252 that was read as Latin-1: write “don’t”."),
    ],
)
def test_the_message_has_the_text_before_and_after(text: str, message: str) -> None:
    [finding] = [each for each in report_on(jsonl(asked(text))).findings if each.code in ("mojibake", "c1_control")]
    assert finding.message.startswith(message)


def test_what_is_lost_is_dropped_with_the_reason() -> None:
    made = make(jsonl(asked(), asked("bad \ufffd char")), fixes=["repair_mojibake"])
    assert made.rows == [asked()]
