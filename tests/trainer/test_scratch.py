"""Temporary folders of training processes."""

import signal
import subprocess
import sys
from pathlib import Path

from trainer.scratch import scratch_folder

_LOCKS_ONE = """
import sys, pathlib
from trainer.scratch import scratch_folder
with scratch_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "weights").write_bytes(b"w")
    print(folder, flush=True)
    sys.stdin.read()
"""


class TestScratchFolder:
    def test_is_empty_and_removed_at_the_end(self, tmp_path: Path) -> None:
        with scratch_folder(tmp_path) as folder:
            assert list(folder.iterdir()) == []
            (folder / "file").touch()
        assert [path.name for path in tmp_path.iterdir()] == []

    def test_of_a_killed_process_is_removed_by_the_next_and_that_of_a_live_one_is_spared(self, tmp_path: Path) -> None:
        processes = [_start(tmp_path), _start(tmp_path)]
        killed, live = (_folder_of(process) for process in processes)
        try:
            processes[0].send_signal(signal.SIGKILL)
            processes[0].wait()
            assert (killed / "weights").exists()
            with scratch_folder(tmp_path):
                assert not killed.exists()
                assert (live / "weights").exists()
        finally:
            for process in processes:
                process.kill()
                process.communicate()


def _start(parent: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _LOCKS_ONE, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _folder_of(process: "subprocess.Popen[str]") -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())
