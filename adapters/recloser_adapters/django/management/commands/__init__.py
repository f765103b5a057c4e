"""The commands: `recloser`."""
