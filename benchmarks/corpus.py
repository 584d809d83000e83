"""A corpus of chats for benchmarks: 47 % English, 30 % Chinese and 23 % code by bytes, the same bytes for the same seed.

The texts mean nothing, but are made of thousands of different sentences with the lengths, repetitions and signs of real
ones: words by Zipf's law, numbers, names, lists, blocks of code, system prompts that repeat, a few e-mail addresses,
filler openings, duplicates and conflicting answers. So tokenizers and checks meet what they meet in practice.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

MEGABYTE = 1_000_000
_SHARES = {"english": 0.47, "chinese": 0.30, "code": 0.23}
_SENTENCES = 12_000
_SEED = 20261

_VOCABULARY = Path(__file__).parent / "vocabulary"
_ENGLISH = (_VOCABULARY / "english.txt").read_text(encoding="utf-8").split()
_CHINESE = (_VOCABULARY / "chinese.txt").read_text(encoding="utf-8").split()
_CODE = re.split("^== ", (_VOCABULARY / "code.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
"""For each language its name, first lines, lines in between and last lines, parted by lines with a tilde alone."""

_NAMES = ("Ada", "Grace", "Linus", "Mei", "Omar", "Priya", "Sven", "Yuki", "Chen", "Fatima", "Diego", "Ingrid", "Kwame")
_SYSTEMS = 40


def write_corpus(path: Path, size_bytes: int, *, seed: int = _SEED) -> int:
    """Writes at least `size_bytes` of JSON Lines to `path`; returns the number of rows."""
    rows = 0
    written = 0
    with path.open("wb") as file:
        for line in _lines(random.Random(seed)):
            written += file.write(line)
            rows += 1
            if written >= size_bytes:
                return rows
    raise AssertionError("the corpus has no end")


def _lines(random: random.Random) -> Iterator[bytes]:
    kinds = {"english": _prose(random, _english), "chinese": _prose(random, _chinese)}
    kinds["code"] = _codes(random, kinds["english"])
    systems = [_text(random, kinds[random.choice(("english", "chinese"))], 3) for _ in range(_SYSTEMS)]
    weights = list(accumulate(1 / rank for rank in range(1, _SYSTEMS + 1)))
    written = dict.fromkeys(_SHARES, 1)
    recent: list[bytes] = []
    while True:
        kind = min(_SHARES, key=lambda name: written[name] / _SHARES[name])
        texts = kinds[kind]
        chance = random.random()
        if recent and chance < 0.004:
            line = random.choice(recent)
        else:
            messages: list[dict[str, str]] = []
            if chance < 0.7:
                messages.append({"role": "system", "content": random.choices(systems, cum_weights=weights)[0]})
            for _ in range(random.choice((1, 1, 1, 2, 3))):
                user = {"role": "user", "content": _text(random, texts if kind != "code" else kinds["english"], 2)}
                if chance > 0.98:
                    user["name"] = random.choice(_NAMES)
                messages += [user, {"role": "assistant", "content": _answer(random, texts, kind)}]
            line = json.dumps({"messages": messages}, ensure_ascii=chance > 0.95).encode() + b"\n"
        written[kind] += len(line)
        recent = [*recent[-50:], line]
        yield line


def _answer(random: random.Random, texts: list[str], kind: str) -> str:
    chance = random.random()
    text = _text(random, texts, 1 + int(random.expovariate(0.25)) if kind != "code" else random.randint(1, 3))
    if chance < 0.03:
        return ("好的,没问题!" if kind == "chinese" else "Sure! ") + text
    if chance < 0.035:
        return f"{text} {random.choice(_NAMES).lower()}.{random.choice(_ENGLISH)}@corp{random.randint(1, 99)}.com"
    if chance < 0.2 and kind != "code":
        return "\n".join(f"{number}. {line}" for number, line in enumerate(random.choices(texts, k=4), start=1))
    return text


def _text(random: random.Random, texts: list[str], sentences: int) -> str:
    return " ".join(random.choices(texts, k=sentences)) + random.choice(("", "", f" ({random.randint(1, 99_999)})."))


def _prose(random: random.Random, sentence: Callable[[random.Random], str]) -> list[str]:
    return [sentence(random) for _ in range(_SENTENCES)]


def _english(random: random.Random) -> str:
    words = random.choices(_ENGLISH, cum_weights=_ZIPF_ENGLISH, k=random.randint(6, 22))
    if random.random() < 0.3:
        words[random.randrange(len(words))] += ","
    if random.random() < 0.2:
        words[-1] = random.choice(
            (f"{random.randint(2, 9_999)}", f"{random.random() * 100:.1f} %", "“so it is”", "it's")
        )
    if random.random() < 0.2:
        words[0] = random.choice(_NAMES)
    return " ".join(words).capitalize() + random.choice((".", ".", ".", "?", "!", ":"))


def _chinese(random: random.Random) -> str:
    words = random.choices(_CHINESE, cum_weights=_ZIPF_CHINESE, k=random.randint(5, 18))
    words[len(words) // 2] += ","
    if random.random() < 0.2:
        words.append(f"{random.randint(2, 9_999)}个")
    return "".join(words) + random.choice(("。", "。", "。", "?", "!"))


def _codes(random: random.Random, prose: list[str]) -> list[str]:
    names = [word for word in _ENGLISH if len(word) > 3]
    languages = [[part.split("\n") for part in text.removesuffix("\n").split("\n~\n")] for text in _CODE]
    codes = []
    for _ in range(_SENTENCES // 2):
        (language, *first), middle, last = random.choice(languages)
        lines = [
            random.choice(first),
            *random.sample(middle, random.randint(2, min(len(middle), 8))),
            random.choice(last),
        ]
        code = "\n".join(_filled(random, line, names, prose) for line in lines)
        codes.append(f"```{language}\n{code}\n```" if random.random() < 0.7 else code)
    return codes


def _filled(random: random.Random, line: str, names: list[str], prose: list[str]) -> str:
    a, b, c, d = random.choices(names, k=4)
    return line.format(
        **{"a": a, "b": b, "c": c, "d": d, "A": a.title(), "B": b.title(), "C": c.title(), "D": d.title()},
        n=random.randint(2, 5_000),
        f=round(random.random(), 3),
        prose=random.choice(prose),
    )


_ZIPF_ENGLISH = list(accumulate(1 / (rank + 5) ** 0.8 for rank in range(len(_ENGLISH))))
_ZIPF_CHINESE = list(accumulate(1 / (rank + 5) ** 0.8 for rank in range(len(_CHINESE))))
