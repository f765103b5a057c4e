"""Whose call it is: a short hash of the credential that a request carries, never the credential."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

# Headers that carry the key of an account, in the order in which they are looked for.
_HEADERS = (
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
    "private-token",
    "x-auth-token",
)
# Headers that choose one of several accounts for which a key is valid; each has limits of its own.
_ACCOUNTS = ("openai-organization", "openai-project", "x-goog-user-project", "stripe-account")
# Parts of a query that carry it.
_QUERY = re.compile(r"[?&](?:key|api_?key|access_token|apikey)=([^&#]+)")
# Signatures are new for each request. What names the account in them stays: in those of AWS the
# access key, in digest authentication the user.
_SIGNED = re.compile(r"(?:Credential=([^/,\s]+)/|\busername=\"([^\"]+)\")")

# New in each process, so that nobody can look a credential up by its hash.
_SALT = os.urandom(16)
_BYTES = 4  # of the hash; tenants of one process, not of the world, must differ


def credential_of(header: Callable[[str], str], target: str) -> str:
    """A hash of the credential of a request, as 8 hexadecimal digits; "" if it has none.

    Args:
        header: Returns the value of a header by its lower-case name; "" if there is none.
        target: The path of the request with its query.
    """
    for name in _HEADERS:
        if value := header(name):
            break
    else:
        found = _QUERY.search(target)
        value = "" if found is None else found[1]
    if not value:
        return ""
    scheme = value[:7].lower()
    if scheme.startswith(("aws4-", "digest")) and (signed := _SIGNED.search(value)) is not None:
        value = signed[1] or signed[2]
    elif scheme == "bearer ":
        # The same key may come in another header.
        value = value[7:].strip()
    value = "\n".join((value, *filter(None, map(header, _ACCOUNTS))))
    # Imported here: most processes never need it.
    from hashlib import blake2b

    return blake2b(value.encode("utf-8", "replace"), key=_SALT, digest_size=_BYTES).hexdigest()
