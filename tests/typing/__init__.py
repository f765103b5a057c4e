"""Read by mypy and pyright, never executed.

A package, so that a file here named like a library cannot shadow it.
"""
