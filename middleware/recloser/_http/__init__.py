"""What the ASGI and the WSGI middleware share: which requests are guarded, and how one is refused."""
