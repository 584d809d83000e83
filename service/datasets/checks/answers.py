"""Checks of answers: filler openings, refusals, and answers that stop in the middle of a sentence.

A model learns the style of its answers before their content, so these faults have a large effect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

from service.datasets.checks.registry import Hit, LocatedHit, answer_check, dataset_check, declare
from service.datasets.parsing.formats import Example

SECTION = "Quality"

_PUNCTUATION = r"!,.:;~\u2014\u2013\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff5e-"
_PAUSES = " " + _PUNCTUATION
_APOSTROPHE = "['\u2019]"
_FILLER_ENGLISH = (
    rf"(?:sure(?: thing)?|certainly|absolutely|definitely|okay|ok|alright|all right|got it|no problem|of course|great"
    rf"|understood|my pleasure|with pleasure)(?= ?[{_PUNCTUATION}])[{_PAUSES}]*"
    rf"|(?:that{_APOSTROPHE}s an? |what an? )?(?:great|good|excellent|interesting) question[!,.]*"
    rf"|i(?:{_APOSTROPHE}d| would|{_APOSTROPHE}ll) be (?:happy|glad) to (?:help|assist)[^.!\n]{{0,40}}[.!]+"
    r"|(?:of course|certainly|sure)(?= i | here)"
    r"|thank you for (?:asking|your question)[.!]*"
)
_FILLER_CHINESE = (
    r"(?:好的?|好呀|好啊|没问题的?|没有问题|当然|当然可以|可以的|明白了?|收到|了解|嗯|很高兴(?:为|能)[^\s\uff0c\u3002\uff01,!]{0,12}"
    r"|这是一?个(?:很|非常)?好的?问题|(?:很|非常)好的问题|感谢[您你]的(?:提问|问题))"
    rf"(?=[\s{_PAUSES}])[\s{_PAUSES}]*"
    r"|当然可以"
)
FILLER = re.compile(rf"\s*+(?:{_FILLER_ENGLISH}|{_FILLER_CHINESE})", re.IGNORECASE)
"""An opening without content, in English or Chinese, with the punctuation after it."""

_REFUSAL = re.compile(
    rf"\s*+(?:(?:i{_APOSTROPHE}?m|i am) (?:very |so |really )?sorry,?(?: but)?\s*|sorry,?(?: but)?\s*"
    r"|unfortunately,?\s*|i apologi[sz]e,?(?: but)?\s*)?"
    rf"(?:i (?:can{_APOSTROPHE}?t|cannot|can not|won{_APOSTROPHE}t|am unable to|am not able to)"
    rf"|i{_APOSTROPHE}m (?:unable|not able) to|as an ai\b|as a (?:large )?language model)",
    re.IGNORECASE,
)
_REFUSAL_CHINESE = re.compile(
    r"\s*+(?:(?:很|非常)?(?:抱歉|对不起|遗憾|不好意思)[,\uff0c\u3002!\uff01\s]*)?"
    r"(?:作为一?[个名]?(?:AI|人工智能|语言模型|大模型)"
    r"|我(?:暂时|目前)?(?:无法|不能|没办法|没有办法)(?:提供|回答|帮助|协助|满足|完成|为|给|进行|回应))",
    re.IGNORECASE,
)
_FILLER_STARTS = ("su ce ab de ok al go no of gr un my wi th wh ex in", "i'", "i ")
_FILLER_STARTS_CHINESE = "好没当可明收了嗯很这非感"
_REFUSAL_STARTS = ("so un as", "i'", "i ")
_REFUSAL_STARTS_CHINESE = "很非抱对遗不作我"
_LIKE_ASCII = "İıſK"
"""Characters outside ASCII that `re.IGNORECASE` takes for i, s and k."""

_CLOSED_ENDS = frozenset(".!?:`\"')]}*0123456789\u3002\uff01\uff1f\u201d\u2026")
_OPEN_ENDS = frozenset(",;(-\u2013\u2014\uff0c\u3001\uff1b\uff08")
_SENTENCE_END = re.compile(r"[.!?\u3002\uff01\uff1f](?:\s|$|[^\W\d_])")
_NOT_PROSE = re.compile(r"\t| {4}|\s*+(?:[-*+\u2022|#>=]|\d+[.)]|https?://)")
_SHARE = 0.1
_MIN_ANSWERS = 20
_MAX_CACHED_HEADS = 8_192


def _starts_with_any(*starts: str, chinese: str) -> Callable[[str], bool]:
    """A prefilter for texts that may begin with white space, a pair of letters, or one of the `chinese` characters."""
    pairs = frozenset(pair for group in starts for pair in ([group] if len(group) == 2 else group.split()))
    others = frozenset(chinese + _LIKE_ASCII)

    @lru_cache(maxsize=_MAX_CACHED_HEADS)
    def may_start(head: str) -> bool:
        first = head[0]
        if first.isspace() or first in others or head.lower() in pairs:
            return True
        return first.isascii() and not head.isascii()

    return lambda text: may_start(text[:2])


may_be_filler = _starts_with_any(*_FILLER_STARTS, chinese=_FILLER_STARTS_CHINESE)
may_refuse = _starts_with_any(*_REFUSAL_STARTS, chinese=_REFUSAL_STARTS_CHINESE)


def may_be_cut(text: str) -> bool:
    """A prefilter for texts that may stop in the middle: their last sentence is not closed, or they contain code."""
    return text[-1] not in _CLOSED_ENDS or "```" in text


@answer_check("filler_opening", "warning", SECTION, prefilter=may_be_filler, fix="strip_filler_openings")
def filler_opening(text: str) -> Iterator[Hit]:
    """An answer opens with filler, which costs tokens and has no content.

    For instance `Sure!`, `Of course`, `Certainly`, `Great question!`, `好的`, `没问题`, `当然可以`.
    """
    found = FILLER.match(text)
    if found and found.end() < len(text.rstrip()):
        yield Hit("", text, f"The answer opens with {found.group().strip()!r}, which has no content; remove it.")


@answer_check("refusal", "warning", SECTION, prefilter=may_refuse)
def refusal(text: str) -> Iterator[Hit]:
    """An answer is a refusal, in English or Chinese. A model trained on many refusals refuses more often."""
    if _REFUSAL.match(text) or _REFUSAL_CHINESE.match(text):
        yield Hit("", text, "This answer is a refusal; keep it only if the model should refuse such questions.")


@answer_check("answer_cut_mid_sentence", "warning", SECTION, prefilter=may_be_cut)
def answer_cut_mid_sentence(text: str) -> Iterator[Hit]:
    """A longer answer in prose ends without closing punctuation, often because generation reached a token limit."""
    end = text.rstrip()
    if len(end) < 40:
        return
    last = end[-1]
    if not (last in _OPEN_ENDS or last.isalpha()):
        if end.count("```") % 2:
            yield Hit("", text, "The answer ends inside a code block; complete it or remove the row.", len(end) - 60)
        return
    tail = end[end.rfind("\n") + 1 :]
    wide = not tail.isascii()
    if end.count("```") % 2 == 0 and (len(tail) < (12 if wide else 25) or _NOT_PROSE.match(tail) or "://" in tail):
        return
    if not wide and tail.count(" ") < 3:
        return
    if last in _OPEN_ENDS or len(end) >= 400 or _SENTENCE_END.search(end):
        message = "The answer stops in the middle of a sentence; complete it or remove the row."
        yield Hit("", text, message, max(0, len(end) - 60))


FILLER_SHARE = declare(
    "filler_opening_share",
    "warning",
    SECTION,
    "Over 10 % of the answers open with filler. The model will open nearly every answer this way.",
    fix="strip_filler_openings",
    scope="dataset",
)
REFUSAL_SHARE = declare(
    "refusal_share",
    "warning",
    SECTION,
    "Over 10 % of the answers are refusals.",
    scope="dataset",
)


@dataset_check(formats=("chat", "completion", "preference"))
class FillerAndRefusalShares:
    """The share of filler openings and of refusals among the answers of the examples."""

    def __init__(self) -> None:
        self._answers = 0
        self._fillers = self._refusals = 0
        self._first_filler = self._first_refusal = 0

    def add(self, examples: Sequence[Example]) -> None:
        """Counts filler openings and refusals."""
        for example in examples:
            answer = example.answer
            if not answer:
                continue
            self._answers += 1
            if may_be_filler(answer) and any(True for _ in filler_opening(answer)):
                self._fillers += 1
                self._first_filler = self._first_filler or example.line
            elif may_refuse(answer) and any(True for _ in refusal(answer)):
                self._refusals += 1
                self._first_refusal = self._first_refusal or example.line

    def merge(self, later: FillerAndRefusalShares) -> None:
        """Adds the counts of later examples."""
        self._answers += later._answers
        self._fillers += later._fillers
        self._refusals += later._refusals
        self._first_filler = self._first_filler or later._first_filler
        self._first_refusal = self._first_refusal or later._first_refusal

    def finish(self) -> Iterable[LocatedHit]:
        """One finding for each share over 10 %."""
        if self._answers < _MIN_ANSWERS:
            return
        for code, count, line, what in (
            (FILLER_SHARE, self._fillers, self._first_filler, "open with filler"),
            (REFUSAL_SHARE, self._refusals, self._first_refusal, "refuse"),
        ):
            if count > self._answers * _SHARE:
                message = f"{100 * count / self._answers:.0f} % of the answers ({count:,} of {self._answers:,}) {what}."
                yield LocatedHit(code, line, Hit("", "", message))

    def notes(self) -> Iterable[str]:
        """None: the findings are complete."""
        return ()
