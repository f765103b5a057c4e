"""Drives real SDKs, guarded in one line or a few, against a fake provider on loopback."""
