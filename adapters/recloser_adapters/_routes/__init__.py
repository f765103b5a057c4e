"""Code that the web framework adapters share: keys, marks, and the watch of one endpoint call.

It imports no framework. Code for one framework is in the adapter of that name.
"""
