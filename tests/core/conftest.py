"""What the tests of the core share: no test of theirs is judged by the clock on the wall."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("core", deadline=None, print_blob=True)
settings.load_profile("core")
