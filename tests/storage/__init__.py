"""Tests of where dataset bytes lie: a folder, and a store that speaks S3."""
