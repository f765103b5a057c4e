"""Each promise once, kept by every client."""
