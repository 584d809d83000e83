"""`/v1/model_aliases`: stable names for models, promoted, rolled back, and deployed to by jobs."""
