"""A fleet: many workers that share what they know of each key through a store."""
