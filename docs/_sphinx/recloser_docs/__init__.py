"""What the documentation site needs beside Sphinx, MyST and a theme."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from recloser_docs import accessibility, adapters, docstrings, llms, navigation, pages, pictures


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the parts; Sphinx calls this."""
    adapters.setup(app)
    pages.setup(app)
    navigation.setup(app)
    docstrings.setup(app)
    pictures.setup(app)
    accessibility.setup(app)
    llms.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
