"""Datasets: files and uploads, their reports (findings, tokens, prices), leakage, and preparations."""
