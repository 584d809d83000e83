"""Datasets: files, what is wrong with them, what they cost to train on, and what can be prepared."""
