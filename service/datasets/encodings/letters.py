"""The letters beyond ASCII of each language, the frequent ones first, by which `plausibility` scores a reading.

The alphabets are those of Unicode's CLDR (exemplar characters); the order is that of common text. Of Chinese, Japanese
and Korean the table has the most frequent characters, and `further_characters` the others in ordinary use: the first
level of GB 2312, Big5 and JIS X 0208, and the syllables of KS X 1001.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

LATIN = {
    "English": "éïñöèàüçâ",
    "German": "üäößé",
    "French": "éàèêçôîûâùïëœ",
    "Spanish": "óáíñéúü",
    "Portuguese": "ãçáéíóêõâàúôü",
    "Italian": "èàùòéìî",
    "Catalan": "àóèéíòçúïü",
    "Dutch": "éëïüèöê",
    "Swedish": "äåöé",
    "Danish": "æøåé",
    "Norwegian": "åøæéòôó",
    "Finnish": "äöå",
    "Icelandic": "ðáíþóöúæéý",
    "Irish": "áíéúó",
    "Estonian": "äõüöžš",
    "Czech": "íáéěřýčžšůúňóďť",
    "Slovak": "áíčžéýúľťšôóňďäŕĺ",
    "Polish": "łężąśóćńź",
    "Hungarian": "áéöóőíüúű",
    "Romanian": "ăîâșțşţ",
    "Croatian": "čšžćđ",
    "Slovenian": "čšž",
    "Lithuanian": "ėšįųžąūčę",
    "Latvian": "āīēšūļņģķžč",
    "Turkish": "ışüçğöâî",
    "Azerbaijani": "əıüşçğö",
    "Albanian": "ëç",
    "Maltese": "ħżġċàù",
    "Esperanto": "ĉĝŝĵŭĥ",
    "Welsh": "ŵŷâêîôû",
    "Vietnamese": "đưàạáôóảợâêấềãếộớểệầìíịờốọủậứựúùơăữửồắòổừẻỏẹỉũèéặõụẫỗởẩẽỹýỳằẳ\u0301\u0300\u0323\u0309\u0303",
}  # fmt: skip
"""Languages in which letters beyond ASCII stand among those of ASCII."""

OTHER = {
    "Russian": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё",
    "Ukrainian": "оанитіверсклудмпягзьбчйхжшїюцщєфґ",
    "Belarusian": "анікеоялртсцпдвоьмузбўэгчшюйхжыфё",
    "Bulgarian": "аоиетнрсвлдкпмзяъбучгжцйшщхюфь",
    "Serbian": "аоиенртсвукдлјпмзбгчцшњћжљхфђџ",
    "Macedonian": "аоиетнрсвдкпулмзбјгшцчжхќњфѓљџѕ",
    "Greek": "αοιετσνηυρπκμλςίγδάωθόέχφήβύώξζψϊΐϋΰ",
    "Hebrew": "יולהאמרתשבנדחעפכקםגטסןצזךףץְִַָּׂ",
    "Arabic": "اليمنورتبهدسعفكحقةجشطصخىأزذءضإثغظئآؤًّ",
    "Persian": "ایرندهمتوبشسکزگفخلپجعحقصطچآضظثغذژءئً",
    "Urdu": "ایکرنوہمسیےتبلںدپجٹگھچعفحخقشصطڑآضظغزذڈئ",
    "Thai": "านร่อก้งมเยลวดทสัตะิีบหปคแจพุใไขชโูถผซำึืฟธศณ็ฐภฉญ์ฎษ",
    "Japanese": (
        "のにはをたがでとしてるいれさすなかもらこまりくつきあっそよだうけどわせんちえみおンースルトアイラリク"
        "ドレシテフロコカッムジプタマサニデグ日一人年大国本中出者会事分時行上見生地間合部方長自的場後来今学子"
        "三手前社同東高物定業書力内入作小立用体当実"
    ),
    "Korean": (
        "이다는을의에가하고지은로도사기한를그리나대시어정인해아자서들으것여스있수일원제라부구전국상장보조주과"
        "만연경소거오게성공관미방동었면위적합비신문생안운치선개음트우무점식없드세호마러습니까요내간재단심했입"
        "각산계발중된회모체물용학"
    ),
    "Chinese": (
        "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
        "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实"
        "日军者意无力它与长把机十民"
    ),
    "Chinese (traditional)": (
        "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡"
        "用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實"
        "日軍者意"
    ),
}  # fmt: skip
"""Languages whose words have no letters of ASCII."""


@cache
def further_characters(language: str) -> frozenset[str]:
    """The characters of a language in ordinary use that `OTHER` does not list; empty for alphabets."""
    match language:
        case "Japanese":
            return frozenset(_decoded("shift_jis", 0x88, 0x98, 0x40, 0xFC)) | frozenset(map(chr, range(0x3041, 0x30FF)))
        case "Korean":
            return frozenset(_decoded("euc_kr", 0xB0, 0xC8, 0xA1, 0xFE))
        case "Chinese":
            return frozenset(_decoded("gb2312", 0xB0, 0xD7, 0xA1, 0xFE))
        case "Chinese (traditional)":
            return frozenset(_decoded("big5", 0xA4, 0xC6, 0x40, 0xFE))
        case _:
            return frozenset()


def _decoded(encoding: str, first: int, last: int, low: int, high: int) -> Iterator[str]:
    for lead in range(first, last + 1):
        for trail in range(low, high + 1):
            try:
                yield bytes((lead, trail)).decode(encoding)
            except UnicodeDecodeError:
                continue
