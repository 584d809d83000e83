"""Graders: each module defines the options of one grader and a pure function that scores an answer.

`registry` lists them. A score has a value from 0 to 1, whether the answer passes, and the reason.
"""
