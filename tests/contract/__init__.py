"""Each promise once, kept by every front end."""
