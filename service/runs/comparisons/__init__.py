"""`/v1/model_comparisons`: compares models over the examples of a file, and grades their answers."""
