"""Runs of many inference calls: what generations of datasets and comparisons of models share."""
