"""The decisions of a breaker, as pure code: the time is an argument, and there is no lock."""
