"""What the documentation lists is what the code has."""

import ast
import re
from pathlib import Path

import pytest

from service.documentation import PAGES, ROOT
from service.error_codes import ERROR_CODES
from service.jobs.lifecycle import TRANSITIONS


@pytest.mark.parametrize("path", PAGES)
def test_a_generated_page_is_what_the_code_says(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == PAGES[path](), "run `make docs`"


def test_every_error_code_that_is_raised_is_listed_and_every_listed_one_is_raised() -> None:
    raised = {code for file in _sources() for code in _codes_of(ast.parse(file.read_text(encoding="utf-8")))}
    assert raised - set(ERROR_CODES) == set()
    assert set(ERROR_CODES) - raised == set()


def test_the_diagram_of_a_jobs_life_has_exactly_the_moves_that_there_are() -> None:
    text = (ROOT / "docs/lifecycle.md").read_text(encoding="utf-8")
    drawn = {(a, b) for a, b in re.findall(r"^    (\w+) --> (\w+)", text, re.MULTILINE)}
    assert drawn == {(origin, target) for origin, targets in TRANSITIONS.items() for target in targets}


def test_links_between_the_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_make_target_that_the_documents_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8")):
            assert target in targets, f"{page.name} names `make {target}`"


def _sources() -> list[Path]:
    return [*ROOT.glob("service/**/*.py"), *ROOT.glob("workers/**/*.py")]


def _codes_of(tree: ast.Module) -> set[str]:
    """Literals given as `code=`, as a class's `code`, or as the code of a `JobError`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            if name in ("Check", "Finding", "check"):
                continue
            found |= {code for keyword in node.keywords if keyword.arg == "code" for code in _literals(keyword.value)}
            if name == "JobError" and node.args:
                found |= _literals(node.args[0])
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and [t.id for t in line.targets if isinstance(t, ast.Name)] == ["code"]:
                    found |= _literals(line.value)
        if isinstance(node, ast.Assign) and [t.id for t in node.targets if isinstance(t, ast.Name)] == ["code"]:
            found |= _literals(node.value)
    return found


def _literals(node: ast.expr) -> set[str]:
    """The strings that an expression can be; `f"invalid_{param}"` is known to have two values."""
    match node:
        case ast.Constant(value=str() as text):
            return {text} - {""}
        case ast.IfExp(body=first, orelse=second):
            return _literals(first) | _literals(second)
        case ast.BoolOp(values=values):
            return {text for value in values for text in _literals(value)}
        case ast.Call(func=ast.Name(id="str"), args=arguments):
            return {text for argument in arguments for text in _literals(argument)}
        case ast.JoinedStr():
            return {"invalid_training_file", "invalid_validation_file"}
        case _:
            return set()
