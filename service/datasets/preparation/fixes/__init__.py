"""One small function for each fix that a check names. `registry` lists them in the order in which they run."""
