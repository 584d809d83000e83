"""A log-linear next-byte model over hashed contexts: small, real, and learned in seconds on a CPU."""
