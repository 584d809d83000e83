"""Text that is not UTF-8 and was read in a wrong encoding: Chinese as Latin-1 (`ÖÐÎÄ`), Russian KOI8-R as Windows-1251.

Neither reading is invalid, so the languages decide: a repair counts only if its letters are those that are frequent in
the language, and the letters before are not.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_CHINESE = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当"
    "没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应"
    "战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平"
    "系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听"
)
_TRADITIONAL = (
    "這個們來為國說時會對於過發後裡種經麼學現當沒動還進樣開從實軍無與長機關點業將兩間問並應戰向頭體見產業話門兒東聲員論處義幾認條氣題爾變總電數報結"
    "請謝書圖館請讓給線選單電腦資訊網頁歡迎您"
)
_KOREAN = (
    "이다의에는가을고하지로기사한도리자를아대시인어나은정서스부해수원일그성상제구들보동주전장라과여국세와"
    "만유게관선소조중신안위면까요니습있없것때"
)
_KANA = "".join(map(chr, [*range(0x3041, 0x3097), *range(0x30A1, 0x30FB), 0x30FC]))
_RUSSIAN = "оеаинтсрвлі"
_GREEK = "αοιετσνηυρόάέίή"
_HEBREW = "יוהלאמרתבשנ"
_ARABIC = "الينمرتبعدوه"
_THAI = "านรอกเงมยลวดทสต"


class Confusion(NamedTuple):
    """Text in encoding `real` that was read as `wrong`, and the letters that are frequent in the languages of `real`.

    `share` is the least share of these letters among all letters outside ASCII; `least` the least number of letters.
    """

    real: str
    wrong: str
    frequent: frozenset[str]
    share: float
    least: int
    name: str


class Reading(NamedTuple):
    """A text as it reads in its real encoding, and the names of the encodings: `Windows-1251`, `KOI8-R`."""

    text: str
    real: str
    wrong: str


def _confusions() -> list[Confusion]:
    western = (("cp1252", "Windows-1252"), ("latin-1", "Latin-1"))
    asian = (
        ("gb18030", _CHINESE, 0.4, 2, "GB 18030"),
        ("big5", _CHINESE + _TRADITIONAL, 0.4, 2, "Big5"),
        ("shift_jis", _KANA, 0.4, 4, "Shift-JIS"),
        ("euc_jp", _KANA, 0.4, 4, "EUC-JP"),
        ("cp949", _KOREAN, 0.4, 3, "EUC-KR"),
    )
    one_byte = (
        ("cp1251", _RUSSIAN, 0.5, 5, "Windows-1251"),
        ("koi8-r", _RUSSIAN, 0.5, 5, "KOI8-R"),
        ("cp866", _RUSSIAN, 0.5, 5, "cp866"),
        ("cp1253", _GREEK, 0.6, 5, "Windows-1253"),
        ("cp1255", _HEBREW, 0.6, 5, "Windows-1255"),
        ("cp1256", _ARABIC, 0.6, 5, "Windows-1256"),
        ("cp874", _THAI, 0.6, 5, "Windows-874"),
    )
    cyrillic = (("koi8-r", "KOI8-R"), ("cp1251", "Windows-1251"), ("cp866", "cp866"))
    return [
        Confusion(real, wrong, frozenset(frequent), share, count, f"{name}|{wrong_name}")
        for real, frequent, share, count, name in (*asian, *one_byte)
        for wrong, wrong_name in western
    ] + [
        Confusion(real, wrong, frozenset(_RUSSIAN), 0.5, 5, f"{name}|{wrong_name}")
        for real, name in cyrillic
        for wrong, wrong_name in cyrillic
        if real != wrong
    ]


CONFUSIONS = _confusions()
_MAX_SHARE_BEFORE = 0.4
_NO_TEXT = re.compile("[\u0080-\u009f\u2500-\u259f\ue000-\uf8ff]")
_MIXED_WORD = re.compile("[A-Za-z][\u0370-\u0fff]|[\u0370-\u0fff][A-Za-z]|[а-яα-ω][А-ЯΑ-Ω]")
"""`NЕ ER DET VЕR`, `аКтР`: words of two alphabets or with capitals inside, which wrong repairs have."""


def other_reading(text: str) -> Reading | None:
    """`text` in the encoding in which it reads best, if that is clearly better than it is now; else None."""
    best: tuple[float, Reading] | None = None
    for confusion in CONFUSIONS:
        reread = _reread(text, confusion)
        if reread is None or _NO_TEXT.search(reread) or _MIXED_WORD.search(reread):
            continue
        letters = [each for each in reread.lower() if each > "\x7f" and each.isalpha()]
        if len(letters) < confusion.least:
            continue
        share = sum(each in confusion.frequent for each in letters) / len(letters)
        if share < confusion.share or _share(text, confusion.frequent) > _MAX_SHARE_BEFORE:
            continue
        if best is None or share > best[0]:
            real, wrong = confusion.name.split("|")
            best = share, Reading(reread, real, wrong)
    return best[1] if best is not None else None


def _reread(text: str, confusion: Confusion) -> str | None:
    try:
        return text.encode(confusion.wrong).decode(confusion.real)
    except UnicodeError:
        return None


def _share(text: str, frequent: frozenset[str]) -> float:
    letters = [each for each in text.lower() if each > "\x7f" and each.isalpha()]
    return sum(each in frequent for each in letters) / len(letters) if letters else 0.0
