"""Code that the adapters for httpx and httpx2 share. It imports neither library."""
