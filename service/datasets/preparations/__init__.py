"""`/v1/dataset_preparations`: making training data of tables, JSON and text, and mending it."""
