"""The documents refer to files, definitions and layers that exist."""

import re
import tomllib

import pytest

from tests.docs.references import ROOT, documents, fault, references


@pytest.mark.parametrize("page", [page.relative_to(ROOT).as_posix() for page in documents()])
def test_every_file_and_definition_that_a_document_names_exists(page: str) -> None:
    faults = [found for path, name in references(ROOT / page) if (found := fault(path, name)) is not None]
    assert faults == []


def test_the_picture_of_the_layers_is_the_contract() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    picture = re.search(r"```text\ncli\nworkers\nservice\n(.*?)```", text, re.DOTALL)
    assert picture is not None
    drawn = [re.split(r"\s{3,}", line.strip())[0] for line in picture[1].splitlines()]
    assert drawn == _layers()


def test_the_figure_of_packages_is_the_number_of_packages() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    figure = re.search(r"^\| packages of `service/` \| [^|]+ \| (\d+) \|", text, re.MULTILINE)
    assert figure is not None
    assert int(figure[1]) == len(list(ROOT.glob("service/*/__init__.py")))


def _layers() -> list[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == ["service"])
    return list(layers)
