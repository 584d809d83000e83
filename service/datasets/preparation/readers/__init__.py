"""Rows of any file: CSV, TSV, spreadsheets, JSON, JSON Lines, text. `source.open_source` chooses."""
