"""Parts of the work alone, for `benchmarks.datasets`: `python -m benchmarks.alone parse|count FILE`.

`parse` reads lines and decodes them with msgspec, nothing else. `count` also counts the tokens of every content, by
the fastest exact counter in as many processes as there are cores, and prints their sum.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from service.catalogue.tokens import TokenCounter, fast_counter, reference_counter
from service.datasets.parsing.fast_chat import FastChatRow
from service.datasets.parsing.lines import Block, read_blocks
from service.datasets.report.process_pool import map_in_order, usable_cores

READ_BYTES = 1 << 20


def main(what: str, path: Path) -> None:
    """Does one of the two and prints a number that shows that it was done."""
    if what == "parse":
        decode = msgspec.json.Decoder().decode
        with path.open("rb") as file:
            print(sum(len(decode(line)) for line in file))
        return
    counter = fast_counter("o200k_base") or reference_counter("o200k_base")
    blocks = read_blocks(_chunks(path), max_line_bytes=16 << 20)
    with map_in_order(blocks, partial(_count, counter), processes=usable_cores()) as counts:
        print(sum(counts))


def _count(counter: TokenCounter, block: Block) -> int:
    plain = msgspec.json.Decoder(FastChatRow).decode
    count = counter.count
    tokens = 0
    for line in block.data.splitlines():
        try:
            texts = [message.content for message in plain(line).messages]
        except msgspec.ValidationError:
            texts = [message["content"] for message in msgspec.json.decode(line)["messages"]]
        tokens += sum(map(count, texts))
    return tokens


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            yield chunk


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
