"""Experiments from the command line: their request, creation, live table of arms, and result."""
