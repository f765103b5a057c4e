"""Parts of the adapter for aiohttp."""
