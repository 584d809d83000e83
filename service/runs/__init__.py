"""Runs of many calls of inference: what generations of datasets and comparisons of models have in common."""
