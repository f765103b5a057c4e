"""Pictures in SVG are put into their page, so that they have the colours of the chosen theme."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def _inline(app: Sphinx, document: nodes.document, name: str) -> None:
    if app.builder.format != "html":
        return
    for image in list(document.findall(nodes.image)):
        path = Path(app.srcdir, image["uri"])
        if path.suffix != ".svg" or 'class="picture"' not in path.read_text():
            continue
        text = f'<div class="picture-frame">{path.read_text()}</div>'
        image.replace_self(nodes.raw("", text, format="html"))


def setup(app: Sphinx) -> None:
    """Have pictures replaced by their text."""
    app.connect("doctree-resolved", _inline)


__all__: list[Any] = ["setup"]
