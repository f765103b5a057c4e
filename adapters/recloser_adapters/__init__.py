"""Adapters: one module or package per third-party library, with the name of the library's extra.

This file imports nothing, so that `recloser_adapters.flask` needs Flask and no other library.

PYTEST_DONT_REWRITE: pytest, which loads a plugin from here, would warn in a process that has imported
recloser before.
"""
