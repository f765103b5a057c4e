"""What hedging does to the tail of latencies, and what it costs."""
