"""The names of encodings: those that people write, those that are shown, and Python's codecs.

Names that are shown are labels of the WHATWG Encoding Standard where it has the encoding, else those of IANA, in small
letters.
"""

from __future__ import annotations

import codecs
import re

CODECS = {
    "utf-8": "utf-8",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "utf-32": "utf-32",
    "utf-32le": "utf-32-le",
    "utf-32be": "utf-32-be",
    **{f"windows-125{digit}": f"cp125{digit}" for digit in range(9)},
    "windows-874": "cp874",
    **{f"iso-8859-{part}": f"iso8859-{part}" for part in (*range(2, 9), 10, *range(13, 17))},
    "iso-8859-1": "cp1252",
    "iso-8859-9": "cp1254",
    "macintosh": "mac-roman",
    "x-mac-ce": "mac-latin2",
    **{f"x-mac-{name}": f"mac-{name}" for name in ("croatian", "cyrillic", "greek", "romanian", "turkish")},
    "x-mac-icelandic": "mac-iceland",
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
    **{f"ibm{page}": f"cp{page}" for page in (437, 737, 775, 850, 852, 855, 857, 858, 860, 861, 862, 863, 865, 866)},
    "gb18030": "gb18030",
    "hz-gb-2312": "hz",
    "big5": "cp950",
    "big5-hkscs": "big5hkscs",
    "shift_jis": "cp932",
    "euc-jp": "euc_jp",
    "iso-2022-jp": "iso2022_jp_ext",
    "euc-kr": "cp949",
    "iso-2022-kr": "iso2022_kr",
}
"""Python's codec for each encoding that can be given. GB 18030 contains GBK and GB 2312; the codecs of Big5, Shift JIS
and EUC-KR are Windows' supersets, and so are those of ISO 8859-1 and -9: files with these names are in them."""

_LATIN = {1: 1, 2: 2, 3: 3, 4: 4, 5: 9, 6: 10, 7: 13, 8: 14, 9: 15, 10: 16}
_ALIASES = {
    **{f"latin{number}": f"iso-8859-{part}" for number, part in _LATIN.items()},
    **{f"l{number}": f"iso-8859-{part}" for number, part in _LATIN.items()},
    **dict.fromkeys(("ascii", "usascii", "utf8sig", "utf8bom", "utf8mb4"), "utf-8"),
    **dict.fromkeys(("unicode", "ucs2"), "utf-16"),
    **dict.fromkeys(("mac", "macroman", "macosroman", "xmacroman", "applemac"), "macintosh"),
    **dict.fromkeys(("maccentraleurope", "xmaccentraleurope", "macce", "maclatin2"), "x-mac-ce"),
    **dict.fromkeys(("maciceland", "macicelandic"), "x-mac-icelandic"),
    **{f"mac{name}": f"x-mac-{name}" for name in ("croatian", "cyrillic", "greek", "romanian", "turkish")},
    **dict.fromkeys(("koi8", "koi"), "koi8-r"),
    **dict.fromkeys(("gbk", "gb2312", "gb", "cp936", "windows936", "euccn", "xgbk"), "gb18030"),
    **dict.fromkeys(("hz", "hzgb"), "hz-gb-2312"),
    **dict.fromkeys(("cp950", "windows950", "big5eten"), "big5"),
    **dict.fromkeys(("hkscs", "big5hkscs"), "big5-hkscs"),
    **dict.fromkeys(("sjis", "shiftjis", "xsjis", "mskanji", "windows31j", "cp932", "ms932"), "shift_jis"),
    **dict.fromkeys(("eucjp", "ujis", "xeucjp"), "euc-jp"),
    **dict.fromkeys(("jis", "iso2022jp", "csiso2022jp"), "iso-2022-jp"),
    **dict.fromkeys(("euckr", "cp949", "windows949", "uhc", "ksc5601", "ksc56011987", "ksx1001", "korean"), "euc-kr"),
    **dict.fromkeys(("tis620", "iso885911"), "windows-874"),
    **dict.fromkeys(("alt", "altcyrillic"), "ibm866"),
}
_AMBIGUOUS = {
    "ansi": "windows-1252 (Western), windows-1250 (Central European) or windows-1251 (Cyrillic)",
    "latin": "iso-8859-1 or windows-1252",
    "windows": "windows-1252, windows-1250 or windows-1251",
    **dict.fromkeys(("oem", "dos", "msdos"), "ibm850, ibm437, ibm852 (Central European) or ibm866 (Cyrillic)"),
    **dict.fromkeys(("iso8859", "iso"), "iso-8859-1, iso-8859-2 or another part"),
    "chinese": "gb18030 or big5",
    "japanese": "shift_jis or euc-jp",
    "cyrillic": "windows-1251, koi8-r or ibm866",
}
_PAGE = re.compile(r"(?:cp|win|windows|ms|mswin|xcp|ansi|codepage|ibm|dos|oem|csibm)?0*(\d{3,4})")
_PART = re.compile(r"iso_?8859(\d{1,2})")
_NAMES = {re.sub("[^a-z0-9]", "", name): name for name in CODECS}


class UnknownEncoding(ValueError):
    """A name that means no encoding of text, or several. The message says which names can be given."""


def encoding_named(label: str) -> str:
    """The name of the encoding that a label means, such as windows-1250 for `cp1250`. Raises `UnknownEncoding`."""
    plain = re.sub("[^a-z0-9]", "", label.lower())
    name = _NAMES.get(plain) or _ALIASES.get(plain)
    if name is not None:
        return name
    if plain in _AMBIGUOUS:
        raise UnknownEncoding(f"`{label[:64]}` is not one encoding; give {_AMBIGUOUS[plain]}.")
    page, part = _PAGE.fullmatch(plain), _PART.fullmatch(plain)
    found = [f"windows-{page[1]}", f"ibm{page[1]}"] if page else [f"iso-8859-{part[1]}"] if part else []
    for each in found:
        if each in CODECS:
            return each
    raise UnknownEncoding(f"There is no encoding `{label[:64]}`. Encodings: {', '.join(CODECS)}.")


def codec(name: str) -> codecs.CodecInfo:
    """Python's codec for an encoding in `CODECS`."""
    return codecs.lookup(CODECS[name])
