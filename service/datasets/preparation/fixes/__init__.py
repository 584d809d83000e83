"""One small function for each fix that a check names. `registry` says which there are and in which order they run."""
