"""The files of the page, read once."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from pathlib import Path

from recloser_adapters.dashboard._exchange import JSON, Answer

_HERE = Path(__file__).parent
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": JSON,
}


@cache
def files() -> dict[str, Answer]:
    """From a path to the answer with the file."""
    found = {f"/{path.name}": path for path in (_HERE / "_page").iterdir() if path.suffix in _TYPES}
    found["/"] = found.pop("/index.html")
    found["/openapi.json"] = _HERE / "openapi.json"
    return {name: _answer(path) for name, path in found.items()}


def _answer(path: Path) -> Answer:
    body = path.read_bytes()
    return Answer(200, _TYPES[path.suffix], body, tag=blake2b(body, digest_size=8).hexdigest())
