"""Experiments: jobs over hyperparameters, base models, seeds or shares of the data, with one budget and one result."""
