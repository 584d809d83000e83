"""Turning what teams have (tables, JSON, text) into training data: the successor of OpenAI's retired `prepare_data`.

`run.prepare` is the story: `readers` make rows of any file, `mapping` makes examples of them, `fixes` mend those,
`split` holds some back for validation, and `changes` writes down every row that was changed or dropped. Pure: bytes
come in through a function that starts them anew, scratch files are lent by the caller.
"""
