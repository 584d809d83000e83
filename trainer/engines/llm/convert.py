"""`python -m trainer.engines.llm.convert SOURCE TARGET`: a GGUF file becomes a folder in Hugging Face layout."""

import argparse
import logging
import shutil
import sys
from pathlib import Path

from ..port import Refused
from .conversion import layout
from .models_folder import read_base


def convert(source: Path, target: Path) -> None:
    """Write the model in `source` as `target`, complete or not at all. Raises Refused when it cannot be converted."""
    base = read_base(source)
    if base.gguf is None:
        raise Refused(None, f"{source} has no GGUF file: use it as it is")
    work = target.with_name(f".{target.name}.conversion")
    try:
        layout(base, work).replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main() -> int:
    """Convert. Returns 0, or 2 when the model cannot be converted."""
    parser = argparse.ArgumentParser(prog="python -m trainer.engines.llm.convert")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    try:
        convert(given.source, given.target)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
