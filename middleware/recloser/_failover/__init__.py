"""Failover: which of several providers gets a call, for how long, and which one is next."""
