"""Whether the tests notice when a small part of the code is changed."""
