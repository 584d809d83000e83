"""Fine-tuning jobs from the command line: their request, creation, progress, figures and metrics."""
