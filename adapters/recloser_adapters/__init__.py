"""Adapters: one module or package per third-party library, named like it and like the extra.

Nothing is imported here, so that `recloser_adapters.flask` needs Flask and nothing else.
"""
