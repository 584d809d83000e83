"""Rules on training curves: a verdict with advice, when an arm of an experiment is stopped early, what more data would
give, and which arm is best. Pure, and of the standard library alone; docs/verdicts.md explains each figure.
"""
