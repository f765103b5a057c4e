"""What a breaker decides, and from what: pure code that is handed the time and owns no lock."""
