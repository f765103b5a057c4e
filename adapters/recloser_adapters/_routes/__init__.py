"""What the adapters of web frameworks share: keys, marks, and the watch over one endpoint call.

It imports no framework. What is peculiar to one is in the adapter of that name.
"""
