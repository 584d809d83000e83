"""Deletes files, models and whole projects, here and upstream, and defines what is retained (docs/deleting.md)."""
