"""The `recloser` command, and the demo that it runs: applications, not adapters."""
