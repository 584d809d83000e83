"""Graders: how good an answer is. Each is one file: what it can be asked for, and a pure mark of one answer.

`registry` lists them. A mark has a score from 0 to 1, whether the answer passes, and why.
"""
