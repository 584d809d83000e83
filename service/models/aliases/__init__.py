"""`/v1/model_aliases`: stable names for models; an alias is promoted or rolled back, and jobs can deploy to it."""
