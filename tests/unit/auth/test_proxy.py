"""The user header counts only from trusted proxies, and only as one value of valid text."""

from __future__ import annotations

from typing import Any, cast

import pytest

from headrace.auth.authority import Caller, Head, Repeated, Unauthenticated
from headrace.auth.external import check_name
from headrace.auth.login import Login
from headrace.auth.origins import Origins, parse_networks
from headrace.auth.proxy import ProxyLogin, UntrustedProxy
from headrace.auth.rules import ANYONE
from headrace.http.messages import Request
from headrace.http.parse import Parser

PROXY = "10.0.0.5"


class Arrivals:
    """Stands for the database of users."""

    async def arrive(self, head: Head, name: str, groups: tuple[str, ...] | None) -> Caller:
        """A caller whose name shows the groups."""
        check_name(name)
        return Caller(name if groups is None else f"{name}: {'|'.join(groups)}")


def login(groups_header: str | None = None) -> Login:
    origins = Origins(parse_networks("10.0.0.0/24"))
    proxy = ProxyLogin("X-Forwarded-User", groups_header, origins, cast("Any", Arrivals()))
    return Login([proxy, UntrustedProxy("X-Forwarded-User")])


async def name(
    headers: dict[str, str], client: str = PROXY, groups_header: str | None = None
) -> str | None:
    request = Request("GET", "/x", "", headers, client=client)
    return (await login(groups_header).identify(ANYONE, request)).name


async def test_a_trusted_proxy_names_the_user() -> None:
    assert await name({"x-forwarded-user": "ann"}) == "ann"
    assert await name({"x-forwarded-user": " ann \t"}) == "ann"
    assert await name({"x-forwarded-user": "ann"}, "::ffff:10.0.0.5") == "ann"
    assert await name({"x-forwarded-user": "ä b".encode().decode("latin-1")}) == "ä b"


@pytest.mark.parametrize("client", ["10.0.1.5", "127.0.0.1", "", "::1", "unix:"])
async def test_the_header_of_another_peer_is_ignored(client: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await name({"x-forwarded-user": "ann"}, client)
    assert refused.value.reason == "header of a proxy from another network"
    assert refused.value.name is None


@pytest.mark.parametrize("headers", [{}, {"x-forwarded-user": ""}, {"x-forwarded-user": " "}])
async def test_without_a_name_other_credentials_are_needed(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        await name(headers)


@pytest.mark.parametrize(
    "value",
    [
        Repeated("ann"),
        "a\xff",
        "a\0b",
        "a\tb",
        "a\x7fb",
        "a\u2028b".encode().decode("latin-1"),
        "a\u202eb".encode().decode("latin-1"),
        "x" * 256,
    ],
)
async def test_a_name_that_no_user_can_have_is_refused(value: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await name({"x-forwarded-user": value})
    assert refused.value.reason


async def test_groups() -> None:
    async def groups(value: str | None) -> str | None:
        headers = {"x-forwarded-user": "ann"}
        if value is not None:
            headers["x-groups"] = value
        return await name(headers, groups_header="X-Groups")

    assert await groups("b, a,,b") == "ann: a|b"
    assert await groups("") == "ann: "
    assert await groups(None) == "ann: "  # the proxy omits an empty header
    for value in (Repeated("a"), "x" * 256, "a\x00", "\xff"):
        with pytest.raises(Unauthenticated):
            await groups(value)


def test_a_repeated_header_is_recognized_on_the_wire() -> None:
    class Sink:
        requests: list[Request] = []  # noqa: RUF012

        def begin(self, request: Request) -> None:
            self.requests.append(request)

        def take(self, chunk: bytes) -> None:
            """No body."""

        def end(self) -> None:
            """No body."""

    sink = Sink()
    Parser(sink).feed(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-User: mallory\r\nAccept: x\r\n"
        b"x-forwarded-user: ann\r\n\r\n"
    )
    headers = sink.requests[0].headers
    assert headers["x-forwarded-user"] == "mallory"
    assert isinstance(headers["x-forwarded-user"], Repeated)
    assert not isinstance(headers["accept"], Repeated)
