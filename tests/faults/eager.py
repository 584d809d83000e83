"""`python -m tests.faults.eager`: a worker's process for CPU work, at the priority of everything else.

At its own low one it gets next to nothing while other tests keep the cores busy, and a run that kills workers has to
wait for another such process after each kill.
"""

import sys

from service.datasets.processes import main as process
from service.processes import program


def main() -> None:
    """What `service.datasets.processes.main` does."""
    program.NICENESS = 0
    process.main(sys.argv[1], sys.argv[2], counting="counting" in sys.argv[3:])


if __name__ == "__main__":
    main()
