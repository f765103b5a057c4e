"""Problem documents (RFC 9457): the bodies of the answers that we make up."""

from __future__ import annotations

import json

PROBLEM_TYPE = "application/problem+json"
"""Their content type."""


def problem_document(status: int, title: str, detail: str, **members: object) -> bytes:
    """Make the body of an answer of content type `application/problem+json`.

    Args:
        status: The HTTP status of the answer.
        title: The status in words; the same for each such answer.
        detail: What happened this time, in a sentence for people.
        members: Further members, for machines; anything that JSON can hold.
    """
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return json.dumps({**problem, **members}).encode()
