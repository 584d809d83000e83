"""Whatever a row contains, a shape converts it, leaves it out or refuses it with a reason."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from service.datasets.shapes import CannotConvert, shape_of
from service.datasets.shapes.containers import description_of, rows_inside
from service.datasets.shapes.folded import fold_of, unfolded
from service.datasets.shapes.registry import NoExample, NoText
from tests.real_files.test_real_files import FILES

VALUES: list[Any] = [
    None, True, 0, 1.5, "", "x", "[]", "{}", [], {}, [None], [{}], [[]], {"a": 1}, {"role": None}, {"text": None},
    [["a"]], "[{'role': 'user', 'content': 'x'}]", [{"role": "user", "content": None}],
]  # fmt: skip


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, as far as each is JSON."""
    text = path.read_text(encoding="utf-8", errors="replace")
    found = []
    for part in (text, *text.splitlines()):
        try:
            value = json.loads(part)
        except ValueError:
            continue
        found += [row for row in (value if isinstance(value, list) else [value]) if isinstance(row, dict)]
    return found


def changed(value: Any, chance: random.Random) -> Any:
    """The value with one thing in it replaced or taken out."""
    if not isinstance(value, (dict, list)) or not value or chance.random() < 0.12:
        return chance.choice(VALUES)
    key: Any = chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value))
    copy: Any = value.copy()
    if chance.random() < 0.1:
        del copy[key]
    else:
        copy[key] = changed(copy[key], chance)
    return copy


@pytest.mark.parametrize("path", sorted(FILES.glob("*.json*")), ids=lambda path: path.name)
def test_no_row_ends_a_conversion_with_another_error(path: Path) -> None:
    chance = random.Random(path.name)
    for row in rows_of(path)[:5]:
        for _ in range(150):
            made = row
            for _ in range(chance.randint(1, 3)):
                made = changed(made, chance)
            if not isinstance(made, dict):
                continue
            fold = fold_of(made)
            made = unfolded(made, fold) if fold else made
            description_of(made)
            rows_inside(made)
            shape = shape_of(made)
            try:
                examples = shape.convert(made) if shape is not None and shape.convert is not None else []
            except (CannotConvert, NoExample, NoText):
                continue
            assert json.loads(json.dumps(examples)) == examples
