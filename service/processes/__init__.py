"""Processes that work on what callers wrote, and end at limits of time and memory: pool, program, guard."""
