"""Retired words, and what to write instead: the patterns, the places where a word means something else, and the search.

`python -m tests.docs.vocabulary` lists all uses by folder; `tests/docs/test_vocabulary.py` fails while there is one.

Names (of modules, classes, functions, variables) are compared word by word and in lower case: `take_order`, `TakeOrder`
and `TAKE_ORDER` are all "take order". The name of a test is a sentence, so it is read as prose. Prose is docstrings,
comments and string literals of programs, and whole lines of documents. String literals of tests, benchmarks and
examples are data, and are not read.
"""

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]

CODE = ("service", "workers", "cli", "trainer")
CHECKS = ("tests", "benchmarks", "examples")
PROSE_FILES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/**/*.md",
    "service/**/*.md",
    "examples/**/*.md",
    "Makefile",
    "Dockerfile",
    "compose.yaml",
    ".ci/run",
    "pyproject.toml",
)

GENERATED = ("docs/settings.md", "docs/errors.md", "docs/checks.md")
"""Pages that are made of the code's strings, which are read there."""

Kind = Literal["name", "prose"]


@dataclass(frozen=True, slots=True)
class Retired:
    """A pattern that is retired in names, in prose or in both, everywhere or in the folders `under`."""

    pattern: str
    use: str
    kinds: tuple[Kind, ...] = ("name", "prose")
    under: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True)
class Use:
    """A retired word in a file."""

    path: str
    line: int
    word: str
    use: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word!r}: use {self.use}"


NAME: tuple[Kind, ...] = ("name",)
PROSE: tuple[Kind, ...] = ("prose",)

RETIRED: tuple[Retired, ...] = (
    # Wake-ups
    Retired(r"doorbells?|bells?", "wake-up"),
    Retired(r"ring|rings|rung|ringing", "wake-up, notify"),
    Retired(r"hints?", "wake-up", NAME, ("service/wakeups", "workers")),
    # Reading the state of something
    Retired(r"told", "reported, updated, notified"),
    Retired(r"news", "updates"),
    Retired(r"(look|looks|looked|looking)(?! (up|around|ahead|like))", "poll, fetch, check", NAME),
    Retired(r"(a|the|each|every|one|two|next|later|last|between) looks?(?!-)|looked at", "poll, check", PROSE),
    Retired(r"(his|her|obstore's|the upstream's) words?", "message, documentation", PROSE),
    Retired(r"watch|watched|watcher|watches|watching", "account poll, last viewed, poll", NAME),
    Retired(r"is watched|are watched|watched (jobs|job|account|accounts)|watch list", "viewed, polled", PROSE),
    Retired(r"hear|hears|heard", "observe, receive"),
    # Load, requests, deferral
    Retired(r"crowd|crowds|crowded", "load"),
    Retired(r"wish|wishes|wished", "pending request"),
    Retired(r"put off|puts off|putting off", "deferred"),
    # Claims on an upstream account
    Retired(r"hold|holds|unhold", "cool-down", NAME),
    Retired(r"admission turns?|ask for turn|take turn", "scheduling pass, bulkhead, time slice", NAME),
    Retired(r"(a|its|the|each) turn (at|of|is|to|for)", "scheduling pass, bulkhead, time slice, slot", PROSE),
    # Jobs, runs, inference
    Retired(r"attend|attends|attended|attending", "wait"),
    Retired(
        r"judge|judges|judged|judging",
        "validate",
        under=("service/datasets", "workers/datasets", "service/jobs", "workers/jobs"),
    ),
    Retired(r"questions?", "inference request", NAME, ("service/inference",)),
    Retired(r"questions?", "inference request", PROSE, ("service/inference",)),
    Retired(r"directory", "router", NAME, ("service/inference", "service/app", "service/services")),
    Retired(r"tab|tabs", "metered call", NAME, ("service/inference", "service/runs", "workers")),
    Retired(r"cashiers?", "ledger batcher"),
    Retired(r"markets?", "pricing context"),
    Retired(r"take order|order of|read order|job order", "resolve, resolved request", NAME),
    Retired(r"(?<!lock )orders?(?! by)", "job request", NAME, ("service/upstreams",)),
    Retired(r"asked|asked by|asked as", "request, request identity", NAME, CODE),
    Retired(r"guesses", "login throttle", NAME),
    Retired(r"visitors?", "client"),
    Retired(r"surroundings", "middleware"),
    Retired(r"still welcome", "access check", NAME),
    # Datasets
    Retired(r"crew|crews", "process pool"),
    Retired(r"referees?", "tokenizer check; of tests: invariants"),
    Retired(r"twins?", "near duplicates"),
    Retired(r"repeats", "exact duplicates", NAME),
    Retired(r"plain (row|rows|chat)", "fast chat row", NAME),
    Retired(r"stopwatch(es)?", "profiler"),
    Retired(r"read openings?", "detect format", NAME),
    Retired(r"incoming", "staged object", NAME),
    Retired(r"glance|glances", "quick check"),
    # Attempts, deletions, labels
    Retired(r"tries", "attempts", NAME),
    Retired(r"tries(?! (to|again|it)\b)|(a|one|each|every|last|first|that|next) try", "attempts, attempt", PROSE),
    Retired(r"endings", "outcomes", NAME),
    Retired(r"upstream copies|upstream copy", "upstream files"),
    Retired(r"strays?", "orphaned upstream job"),
    Retired(r"orphans?", "abandoned reservations", NAME, ("service/billing",)),
    Retired(r"lose their words|lost their words|words gone", "redacted"),
    Retired(r"kept", "redaction, retained", NAME, ("service/deletions", "workers/deletions")),
    Retired(r"(?<!order )marks?", "score, label", NAME),
    Retired(r"our marks?|its marks?|their marks?|graders? marks?|marks? of a grader", "labels, scores", PROSE),
    Retired(r"weather", "network faults"),
    Retired(r"chores?", "periodic task"),
    # Manner of speaking
    Retired(r"most (?!common).*", "max …", NAME),
    Retired(r"mend|mends|mended|mending", "fix"),
    Retired(r"of ours", "own", PROSE),
    Retired(r"(see|sees|saw|seen|seeing) to (it|that)", "resolve, ensure", PROSE),
    Retired(r"so long(?! (as|that)\b)", "timeout, for this time", PROSE),
    Retired(r"no end of|without end of time", "no limit", PROSE),
    Retired(r"whoever", "the caller, the worker that …", PROSE),
    Retired(r"(comes?|came) of (it|that|this|a|the)", "result, outcome", PROSE),
    Retired(r"(is|are|was|were|being|be) away", "is unavailable", PROSE),
    # Harness of the tests
    Retired(r"mill|desk|workshop|strokes", "harness, by domain", NAME, ("tests",)),
    Retired(r"bench", "harness", NAME, ("tests",)),
)

ALLOWED: tuple[tuple[str, str, str], ...] = (
    # path prefix, pattern of the line, reason
    ("tests/docs/vocabulary.py", r"", "lists the words"),
    ("tests/docs/test_vocabulary.py", r"", "lists the words"),
    ("", r"get_current_weather", "the function that OpenAI's documentation uses as its example"),
    ("", r"pytest\.mark|pytestmark", "pytest"),
    ("service/datasets/checks/characters.py", r"\bbell\b", "the control character U+0007"),
    ("docs/checks.md", r"a bell", "the control character U+0007"),
    ("service/jobs/deployment.py", r"[jJ]udge", "the grader that lets a model decide"),
    ("workers/wakeup_listener.py", r"max_tries", "ARQ's parameter"),
    ("tests/runs/generations/", r"(?i)weather", "a function that a generation's examples call"),
    ("trainer/engines/bytemodel/primer.py", r"weather", "training data"),
)


def uses(root: Path = ROOT) -> Iterator[Use]:
    """All uses of retired words, file by file."""
    for path in sorted(_programs(root)):
        name = path.relative_to(root).as_posix()
        yield from _filtered(name, path.read_text(encoding="utf-8"), program=True)
    for path in sorted({found for pattern in PROSE_FILES for found in root.glob(pattern)}):
        name = path.relative_to(root).as_posix()
        if name in GENERATED:
            continue
        yield from _filtered(name, path.read_text(encoding="utf-8"), program=False)


def _programs(root: Path) -> Iterator[Path]:
    for folder in (*CODE, *CHECKS):
        yield from root.glob(f"{folder}/**/*.py")


def _filtered(path: str, text: str, *, program: bool) -> Iterator[Use]:
    lines = text.splitlines()
    found = program_uses(path, text) if program else prose_uses(path, enumerate(lines, 1))
    for use in found:
        line = lines[use.line - 1] if 0 < use.line <= len(lines) else ""
        if not any(path.startswith(prefix) and re.search(pattern, line) for prefix, pattern, _ in ALLOWED):
            yield use


def program_uses(path: str, text: str) -> Iterator[Use]:
    """Uses in the names, comments and strings of a Python file, and in the words of its own path."""
    yield from _matches(path, 1, words_of(Path(path).stem), "name")
    docstrings = _docstring_lines(text)
    literals = path.startswith(CODE)
    seen: set[tuple[int, str]] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        line = token.start[0]
        if token.type == tokenize.NAME and (line, token.string) not in seen:
            seen.add((line, token.string))
            sentence = token.string.startswith("test_")
            yield from _matches(path, line, words_of(token.string), "prose" if sentence else "name")
        elif token.type == tokenize.COMMENT or (
            token.type in _STRINGS and (literals or line in docstrings) and not _is_identifier(token.string)
        ):
            yield from prose_uses(path, enumerate(token.string.splitlines(), line))


_STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def _is_identifier(literal: str) -> bool:
    """A string that is one word or name, such as a column or a JSON field: data, not prose."""
    return re.fullmatch(r"""[rbuf]*['"]{1,3}[\w.:/\-]*['"]{1,3}""", literal) is not None


def _docstring_lines(text: str) -> set[int]:
    """First lines of all strings that stand as statements: docstrings, and those below constants."""
    return {
        node.value.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


def prose_uses(path: str, lines: Iterator[tuple[int, str]]) -> Iterator[Use]:
    """Uses in lines of prose."""
    for number, line in lines:
        yield from _matches(path, number, line.replace("_", " ").lower(), "prose")


def words_of(name: str) -> str:
    """`takeOrder`, `TAKE_ORDER` and `take_order` are all "take order"."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)).lower()


def _matches(path: str, line: int, text: str, kind: Kind) -> Iterator[Use]:
    for word, use, under in _retired_in(text, kind):
        if path.startswith(under):
            yield Use(path, line, word if kind == "prose" else text.replace(" ", "_"), use)


@lru_cache(maxsize=100_000)
def _retired_in(text: str, kind: Kind) -> Sequence[tuple[str, str, tuple[str, ...]]]:
    """What the patterns find in a text: the words, what to use instead, and where. Names occur many times."""
    if not _ANY[kind].search(text):
        return ()
    return [(match[0], use, under) for pattern, use, under in _PATTERNS[kind] if (match := pattern.search(text))]


def _whole_words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z])(?:{pattern})(?![a-z])")


_PATTERNS: dict[Kind, Sequence[tuple[re.Pattern[str], str, tuple[str, ...]]]] = {
    kind: [(_whole_words(each.pattern), each.use, each.under) for each in RETIRED if kind in each.kinds]
    for kind in ("name", "prose")
}
_ANY = {
    kind: re.compile("|".join(pattern.pattern for pattern, _, _ in patterns)) for kind, patterns in _PATTERNS.items()
}


def main() -> None:
    """Print the uses, and how many each folder has; the arguments choose folders."""
    found = [use for use in uses() if not sys.argv[1:] or use.path.startswith(tuple(sys.argv[1:]))]
    for use in found:
        print(use)
    folders = Counter("/".join(use.path.split("/")[:2]) for use in found)
    for folder, count in folders.most_common():
        print(f"{count:6} {folder}", file=sys.stderr)
    print(f"{len(found):6} in all", file=sys.stderr)


if __name__ == "__main__":
    main()
