"""Parts of the adapter for requests."""
