"""Ids of requests: a client's own goes through to the answer when it is harmless in a log."""

from __future__ import annotations

import re
from typing import Final

REQUEST_ID: Final = "x-request-id"
_SANE: Final = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)


def is_sane(request_id: str) -> bool:
    """Whether an id may be echoed and logged: short, and of letters, digits and `.:/+=@-_`."""
    return _SANE.fullmatch(request_id) is not None
