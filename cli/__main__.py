"""`tunegate`, and `python -m cli` where it is not installed as a script."""

import sys


def main() -> None:
    """Run the command, with a Ctrl-C during its imports too."""
    try:
        from cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
