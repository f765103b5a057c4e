"""The `recloser` command and its demo. They are applications, not adapters."""
