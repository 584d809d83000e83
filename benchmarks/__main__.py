"""`python -m benchmarks`: what there is to measure; with a name, measures it, with `--all` everything in turn.

A benchmark is a module of this folder with a `main` and, as the first line of its docstring, how it is called.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Lists the benchmarks, or runs those that are named."""
    known = {path.stem: _summary(path) for path in sorted(Path(__file__).parent.glob("*.py"))}
    known = {name: summary for name, summary in known.items() if summary.startswith("`python -m benchmarks.")}
    names, options = sys.argv[1:2], sys.argv[2:]
    if names == ["--all"]:
        names = list(known)
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(known)}")
    if not names:
        print("\n".join(known.values()))
        names, options = ["datasets"], []
        print("\nRunning datasets:")
    for name in names:
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False)
        if done.returncode:
            raise SystemExit(done.returncode)


def _summary(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]


if __name__ == "__main__":
    main()
