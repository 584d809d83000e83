"""`/v1/dataset_generations`: making examples by asking models, topics → questions → answers."""
