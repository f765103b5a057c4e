"""Which SDK sent a request, and which form of a refusal returns at once there.

Most clients raise what their transport raises, at once. Two families of SDKs retry every error, but
believe a header of a response that tells them not to. Others retry every 503, whatever it says. All
of them tell who they are by a header.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

Form: TypeAlias = Literal["raise", "response"]

# SDKs that retry every error, and no response with `x-should-retry: false` or
# `stripe-should-retry: false`: those made by Stainless (openai, anthropic, groq, together ...), stripe.
_TAKE_A_RESPONSE = ("x-stainless-lang", "x-stripe-client-user-agent")
# SDKs that retry every 503 and sleep its Retry-After, but not this error: those made by Fern (cohere,
# elevenlabs ...), supabase. The second header names many clients.
_FERN, _CLIENT, _SUPABASE = "x-fern-language", "x-client-info", ("supabase", "postgrest")


def fitting(header: Callable[[str], str], asked: Form | None) -> Form:
    """The form of a refusal that the sender of a request neither hides nor sleeps for.

    Args:
        header: Returns the value of a header of the request by its lower-case name; "" if it has
            none.
        asked: The form that the user asked for; None to find the one that fits.
    """
    if asked == "raise":
        return "raise"
    if header(_FERN) or header(_CLIENT).startswith(_SUPABASE):
        return "raise"
    return "response" if asked or any(map(header, _TAKE_A_RESPONSE)) else "raise"
