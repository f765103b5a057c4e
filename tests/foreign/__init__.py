"""Other projects' own tests, run through us: `python -m tests.foreign starlette`."""
