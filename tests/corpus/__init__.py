"""The clean corpus: texts in many languages in which nothing is wrong."""

from pathlib import Path

CLEAN = {
    path.stem: path.read_text(encoding="utf-8").splitlines()
    for path in sorted((Path(__file__).parent / "clean").glob("*.txt"))
}
"""The texts of each language or kind of text."""
