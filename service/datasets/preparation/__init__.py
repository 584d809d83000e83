"""Turns tables, JSON and text into training data: the successor of OpenAI's retired `prepare_data` tool.

`run.prepare` shows the whole process: `readers` read rows from any file, `mapping` makes examples of them, `fixes`
correct those, `split` holds some back for validation, and `changes` records every row that was changed or dropped. All
of that is pure: the caller passes a function that returns the input's bytes from the start, and provides scratch files.
"""
