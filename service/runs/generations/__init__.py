"""`/v1/dataset_generations`: models generate examples, from topics to questions to answers."""
