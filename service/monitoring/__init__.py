"""What a process reports of itself: readiness, metrics, and the internal listener that serves both."""
