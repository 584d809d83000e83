"""The table of limits in `docs/limits.md`: every bound on what a caller's bytes decide, with its value from the code.

Each entry takes its value from the constant or the setting that enforces it, so that the page cannot drift from the
code. Add one with every new bound, to the module of its group.
"""
