"""Code that all client adapters share for outbound calls. It imports no client library."""
