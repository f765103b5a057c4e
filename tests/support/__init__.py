"""Code that several test files share. It has no tests."""
