"""The parts of the pytest plugin. They are imported when a test uses a fixture of it."""
