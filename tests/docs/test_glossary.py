"""The glossary defines every term once, in order, and says where each one is."""

import re

from service.database.tables import Base
from tests.docs.references import ROOT, fault, references

GLOSSARY = ROOT / "docs/glossary.md"
_ENTRIES = re.split(r"^## ", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
ENTRIES = [(entry.partition("\n")[0].strip(), entry.partition("\n")[2].strip()) for entry in _ENTRIES]


def test_terms_are_sorted_and_each_is_defined_once() -> None:
    terms = [term for term, _ in ENTRIES]
    assert terms == sorted(set(terms), key=str.casefold)


def test_entries_are_short_and_say_where_the_term_is_defined() -> None:
    assert [term for term, text in ENTRIES if len(text.split()) > 60] == []
    assert [term for term, text in ENTRIES if not re.search(r"`[\w./:]+`|\]\(", text)] == []


def test_every_definition_that_the_glossary_names_exists() -> None:
    assert [found for path, name in references(GLOSSARY) if (found := fault(path, name)) is not None] == []


def test_every_table_that_the_glossary_names_exists() -> None:
    text = GLOSSARY.read_text(encoding="utf-8")
    named = set(re.findall(r"[Tt]ables? `(\w+)`", text)) | set(re.findall(r"[Tt]ables `\w+`(?: and|,) `(\w+)`", text))
    assert named - set(Base.metadata.tables) == set()
