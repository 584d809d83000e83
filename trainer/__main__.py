"""`python -m trainer --host 127.0.0.1 --port 8090 --data-dir DIR`."""

import sys


def main() -> int:
    """Serve until SIGTERM or Ctrl-C. Returns 0 after that, 2 if it could not start, 130 if Ctrl-C came before."""
    try:
        from .server import serve  # what it imports takes a second, in which Ctrl-C may come too

        return serve()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
