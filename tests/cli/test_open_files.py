"""`tunegate serve` raises its limit of open files, since each connection is one."""

import subprocess
import sys

PROGRAM = """
import resource
from cli.commands.serve import raise_open_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
raise_open_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard), hard > 256)
"""


def test_the_limit_of_open_files_becomes_what_the_system_allows() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
