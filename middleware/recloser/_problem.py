"""Problem documents (RFC 9457): the bodies of our own answers, such as a 503 for a refusal."""

from __future__ import annotations

import json

PROBLEM_TYPE = "application/problem+json"
"""The content type of a problem document."""


def problem_document(status: int, title: str, detail: str, **members: object) -> bytes:
    """Make the body of an answer with the content type `application/problem+json`.

    Args:
        status: The HTTP status of the answer.
        title: The kind of problem in words; the same for each answer of this kind.
        detail: What happened this time, in a sentence for people.
        members: Further members, for machines; any values that JSON can represent.

    Returns:
        The JSON document, in ASCII.
    """
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return json.dumps({**problem, **members}).encode()
