"""Run another project's own tests with its apps or clients guarded; README.md tells how and why.

python -m tests.foreign starlette|flask|werkzeug|django|requests|aiohttp|httpx
python -m tests.foreign suite PROJECT==VERSION --require PACKAGE ...
"""

from __future__ import annotations

import sys

from tests.foreign import httpx_suite, inbound_suite


def main(arguments: list[str]) -> int:
    """Run what the first argument names."""
    if arguments[:1] == ["httpx"]:
        return httpx_suite.main(arguments[1:])
    return inbound_suite.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
