"""What readers need who use a keyboard or a screen reader, and the theme leaves out."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def _complete(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: object) -> None:
    if "body" in context:
        # What is wider than the page is scrolled. The keyboard can do so if it gets there.
        for wide in ("<pre>", '<div class="table-wrapper'):
            name = wide[1:4]
            reached = wide.replace(f"<{name}", f'<{name} tabindex="0"')
            context["body"] = context["body"].replace(wide, reached)
    if "furo_navigation_tree" in context:
        context["furo_navigation_tree"] = context["furo_navigation_tree"].replace(
            'role="heading"', 'role="heading" aria-level="2"'
        )


def setup(app: Sphinx) -> None:
    """Have pages completed after the theme has added its parts."""
    app.connect("html-page-context", _complete, priority=900)
