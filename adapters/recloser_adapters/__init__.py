"""Adapters: one module per third-party library, named like the library and like the extra.

Nothing is imported here, so that `recloser_adapters.flask` needs Flask and nothing else.
"""
