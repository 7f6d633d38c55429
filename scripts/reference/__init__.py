"""The generated pages of docs/reference, each a function of the source; `make docs` writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scripts.reference.commands import commands_page
from scripts.reference.http_api import http_api_page
from scripts.reference.limits import limits_page
from scripts.reference.metrics import metrics_page
from scripts.reference.python_api import python_api_page
from scripts.reference.settings import settings_page
from scripts.reference.versions import versions_page

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES: Final[dict[str, Callable[[], str]]] = {
    "command-line.md": commands_page,
    "http-api.md": http_api_page,
    "limits.md": limits_page,
    "metrics.md": metrics_page,
    "python-api.md": python_api_page,
    "settings.md": settings_page,
    "versions.md": versions_page,
}
