"""Which encoding a text has: the names that people write, Unicode's own forms, and guesses about all others."""
