"""Detects the encoding of a text: the names that people write, the forms of Unicode, and all others by their bytes."""
