"""The documentation site: `sphinx-build -W --keep-going docs build/site`.

Sphinx: it makes errors of warnings, reads docstrings, checks links between pages, and its search is
a file that needs no server. Material for MkDocs ends in May 2027; its successor, Zensical, is
at 0.1 and could not be installed when this was written.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE / "_sphinx"), str(ROOT / "middleware"), str(ROOT / "adapters")]

project = "recloser"
copyright = "the recloser authors"  # noqa: A001 - the name that Sphinx reads
html_title = "recloser"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "recloser_docs",
]
exclude_patterns = ["_sphinx", "_static"]

# GitHub shows the same files, so links to headings have the names that it gives them.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

# Types are in the signatures; docstrings do not repeat them.
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_preprocess_types = False
# Two classes are named Refusal. An annotation links to one of them.
suppress_warnings = ["ref.python"]
toc_object_entries_show_parents = "hide"

# Nothing is fetched when a page is read: no fonts, no scripts, no counters of other hosts.
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["recloser.css"]
html_copy_source = False
html_show_sphinx = False
html_baseurl = ""
html_theme_options = {"source_edit_link": "", "source_view_link": ""}
html_last_updated_fmt = None
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
