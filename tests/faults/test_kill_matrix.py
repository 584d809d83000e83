"""Every fault point is in the list, is killed at, and a kill at each does no harm."""

import ast
from pathlib import Path

import pytest

from service.fault_points import POINTS
from tests.faults.kill_matrix import ELSEWHERE, kill_at, of_one_situation, open_matrix, situation
from tests.stack import ROOT

DOCUMENT = ROOT / "docs" / "durability.md"


def points_in_code() -> set[str]:
    """The name in every call of `fault_points.point`."""
    found = set()
    for path in (file for folder in ("service", "workers", "cli") for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="fault_points"), attr="point"), args=[argument]):
                    assert isinstance(argument, ast.Constant), f"{path}: the name of a point is written out"
                    found.add(str(argument.value))
    return found


def test_the_list_is_complete() -> None:
    assert points_in_code() == set(POINTS)


def test_every_point_is_killed_at() -> None:
    assert [point for point in POINTS if situation(point) is None and point not in ELSEWHERE] == []


@pytest.mark.parametrize("point", sorted(ELSEWHERE))
def test_those_killed_at_elsewhere_are(point: str) -> None:
    assert f'"{point}' in Path(ROOT / ELSEWHERE[point]).read_text(encoding="utf-8")


def test_the_document_has_them() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [point for point in POINTS if f"`{point}`" not in text] == []


@pytest.mark.faults
@pytest.mark.timeout(1200)
async def test_a_kill_at_each_does_no_harm(full: bool) -> None:
    """The short form of `make kills`: one kill at each point, or three in `make test-faults`."""
    times = 3 if full else 1
    async with open_matrix() as matrix:
        for points in of_one_situation(POINTS):
            assert await kill_at(matrix, points, times) == times * len(points), f"not all of {points} were reached"
        await matrix.drain()
        verdict, forbidden = await matrix.check_invariants()
    assert not forbidden, f"{forbidden}\n{verdict.table()}"
