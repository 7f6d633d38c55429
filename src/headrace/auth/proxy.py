"""Users that a proxy in front of the server has logged in: it names them in a header.

The header counts only in requests from the networks of trusted proxies. From any other peer it is
ignored, so such a request needs other credentials; the reason is in the log of refused requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.auth.authority import Repeated, Unauthenticated
from headrace.auth.groups import parse_groups

if TYPE_CHECKING:
    from headrace.auth.authority import Caller, Head
    from headrace.auth.external import ExternalUsers
    from headrace.auth.login import Method
    from headrace.auth.origins import Origins
    from headrace.settings.table import Settings


class ProxyLogin:
    """Reads the user and the groups from the headers of a trusted proxy."""

    def __init__(
        self, header: str, groups_header: str | None, origins: Origins, users: ExternalUsers
    ) -> None:
        self._header = header.lower()
        self._groups_header = groups_header.lower() if groups_header else None
        self._origins = origins
        self._users = users

    async def identify(self, head: Head) -> Caller | None:
        """See `Method.identify`."""
        value = head.headers.get(self._header)
        if value is None or not self._origins.trusts(head.client):
            return None
        name = _text(value)
        if not name:  # the proxy has logged in nobody
            return None
        groups = None
        if self._groups_header is not None:
            groups = self._groups(head.headers.get(self._groups_header, ""))
        return await self._users.arrive(head, name, groups)

    def _groups(self, value: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(parse_groups(_text(value))))
        except ValueError:
            raise Unauthenticated("too many groups, or one that is too long") from None


class UntrustedProxy:
    """The last method: says in the log why a request with the header of the proxy is refused."""

    def __init__(self, header: str) -> None:
        self._header = header.lower()

    async def identify(self, head: Head) -> Caller | None:
        """See `Method.identify`."""
        if head.headers.get(self._header):
            raise Unauthenticated("header of a proxy from another network")
        return None


def proxy_methods(
    settings: Settings, origins: Origins, users: ExternalUsers
) -> tuple[list[Method], list[Method]]:
    """The methods of login that come before and after all others; none without a proxy."""
    header = settings.auth_proxy_header
    if header is None:
        return [], []
    login = ProxyLogin(header, settings.auth_proxy_groups_header, origins, users)
    return [login], [UntrustedProxy(header)]


def _text(value: str) -> str:
    """The value of a header as UTF-8. Raises Unauthenticated unless it is one value of valid text."""
    if isinstance(value, Repeated):
        # The first value may be the client's, and the proxy has added the second one.
        raise Unauthenticated("repeated header of the proxy")
    try:
        text = value.encode("latin-1").decode()
    except UnicodeError:
        raise Unauthenticated("a header of the proxy is not UTF-8") from None
    text = text.strip(" \t")
    if not text.isprintable():
        raise Unauthenticated("a header of the proxy has control characters")
    return text
