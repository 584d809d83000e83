"""`python -m cli`: the `tunegate` command where it is not installed as a script."""

from cli.main import main

main()
