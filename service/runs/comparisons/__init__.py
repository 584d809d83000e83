"""`/v1/model_comparisons`: models side by side over the examples of a file, graded."""
