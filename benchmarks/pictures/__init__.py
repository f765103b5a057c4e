"""The pictures of the documentation, drawn from runs of the real breaker on virtual time."""
