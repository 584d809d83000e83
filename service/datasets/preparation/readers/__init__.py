"""Read rows from CSV, TSV, spreadsheets, JSON, JSON Lines and text. `source.open_source` chooses the reader."""
