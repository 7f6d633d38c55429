"""The sender of a request: its headers are read as werkzeug reads them, and passwords are verified once."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, NamedTuple

import pytest
from werkzeug.datastructures import Authorization as WerkzeugAuthorization

from headrace.auth.authority import Caller, Unauthenticated
from headrace.auth.failures import PER_USER, TooManyFailures
from headrace.auth.login import Authorization, Login, PasswordLogin
from headrace.auth.origins import Origins
from headrace.auth.passwords import Passwords
from headrace.auth.rules import ADMIN, ANYONE, METRICS, OPEN
from headrace.auth.tokens import Tokens
from headrace.http.messages import Request

if TYPE_CHECKING:
    from collections.abc import Iterator


class Row(NamedTuple):
    """A row of `users`."""

    id: int
    is_admin: bool
    password_hash: str | None


class CountedPasswords(Passwords):
    """Hashes that are cheap and counted: the hash of a password is `=` and the password."""

    count = 0

    async def matches(self, stored: str | None, password: str) -> bool:
        self.count += 1
        await asyncio.sleep(0)
        return stored == "=" + password


class Served:
    """A login with a table of users."""

    def __init__(self) -> None:
        self.users = {
            "ann": Row(1, False, "=ann's password"),
            "root": Row(2, True, "=password1234"),
            "sso": Row(3, False, "!none"),
            "bob": Row(4, False, None),
            "ä": Row(5, False, "=ö"),
            "": Row(6, False, "=nobody's"),
        }
        self.passwords = CountedPasswords()
        self.tokens = Tokens("secret")
        self.by_password = PasswordLogin(self.read, self.passwords, Origins())
        self.login = Login(
            [Authorization(self.by_password, self.tokens, self.jwt)], "for prometheus"
        )

    async def read(self, name: str) -> Row | None:
        assert "\0" not in name, "PostgreSQL refuses it"
        return self.users.get(name)

    async def jwt(self, token: str, head: object) -> Caller:
        if token.count(".") != 2:
            raise Unauthenticated("unknown token")
        return Caller("bob")

    async def ask(self, authorization: str | None, path: str = "/x", client: str = "a") -> str:
        """The name of a confirmed caller."""
        headers = {} if authorization is None else {"authorization": authorization}
        request = Request("GET", path, "", headers, client=client)
        caller = await self.login.identify(ANYONE, request)
        assert caller.name is not None
        await caller.confirm(self.users.get(caller.name))
        return caller.name


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.passwords.close()


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


ANN = basic("ann", "ann's password")


@pytest.mark.parametrize(
    "header",
    [
        ANN,
        ANN.replace("Basic", "bAsIc"),
        ANN.replace("Basic ", "Basic \t  ") + " \t",
        basic("ä", "ö"),
        basic("", "nobody's"),
    ],
)
async def test_right_passwords(served: Served, header: str) -> None:
    parsed = WerkzeugAuthorization.from_header(header)
    assert parsed is not None
    assert await served.ask(header) == parsed.username


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, None),
        ("", None),
        ("Basic", "wrong password"),  # an empty name and password, as for werkzeug
        ("Basic ", "wrong password"),
        ("Basic\t" + ANN[6:], "unknown scheme"),
        (ANN + "!", "malformed"),
        (ANN[:-1], "malformed"),
        (ANN[:10] + "\n" + ANN[10:], "malformed"),
        (ANN + " " + ANN[6:], "malformed"),
        ("Basic é", "malformed"),
        ("Basic " + base64.b64encode(b"ann:\xff").decode(), "malformed"),
        ("Basic " + base64.b64encode(b"ann").decode(), "wrong password"),
        (basic("ann", "ann's password "), "wrong password"),
        (basic("ann", ""), "wrong password"),
        (basic("Ann", "ann's password"), "unknown user"),
        (basic("ann\0", "ann's password"), "unknown user"),
        (basic("nobody", "x"), "unknown user"),
        (basic("sso", "none"), "wrong password"),
        (basic("bob", ""), "wrong password"),
        (basic("root", "password1234"), "published"),
        ("Digest username=ann", "unknown scheme"),
        ("Negotiate abc", "unknown scheme"),
        ("ann:ann's password", "unknown scheme"),
        ("Bearer", "unknown token"),
        ("Bearer ", "unknown token"),
        ("Bearer x", "unknown token"),
        ("Bearer hrt1_x", "malformed token"),
        ("Bearer for prometheus", "unknown token"),
    ],
)
async def test_other_credentials_are_refused(
    served: Served, header: str | None, reason: str | None
) -> None:
    for _ in range(2):
        with pytest.raises(Unauthenticated) as refused:
            await served.ask(header)
        assert refused.value.challenge == 'Basic realm="mlflow"'
        if reason is None:
            assert refused.value.reason is None
        else:
            assert (refused.value.reason or "").find(reason) >= 0
    if reason == "malformed" and header != "Basic é":  # where werkzeug fails
        assert WerkzeugAuthorization.from_header(header) is None


async def test_the_user_ends_at_the_first_colon(served: Served) -> None:
    served.users["a"] = Row(9, False, "=b:c")
    assert await served.ask(basic("a", "b:c")) == "a"
    served.users["a:b"] = Row(10, False, "=c")
    del served.users["a"]
    with pytest.raises(Unauthenticated):
        await served.ask(basic("a:b", "c"))


async def test_a_password_is_hashed_once(served: Served) -> None:
    for _ in range(50):
        await served.ask(ANN)
    assert served.passwords.count == 1


async def test_simultaneous_requests_share_one_hash(served: Served) -> None:
    assert await asyncio.gather(*(served.ask(ANN) for _ in range(50))) == ["ann"] * 50
    assert served.passwords.count == 1


async def test_others_get_the_result_when_the_first_client_leaves(served: Served) -> None:
    first = asyncio.create_task(served.ask(ANN))
    second = asyncio.create_task(served.ask(ANN))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "ann"
    assert served.passwords.count == 1


async def test_a_changed_password_counts_at_once(served: Served) -> None:
    await served.ask(ANN)
    served.users["ann"] = Row(1, False, "=new")
    for _ in range(30):
        with pytest.raises(Unauthenticated, match="wrong password"):
            await served.ask(ANN)
    assert served.passwords.count == 2  # the wrong one is remembered too
    assert await served.ask(basic("ann", "new")) == "ann"


async def test_a_new_hash_of_the_same_password_is_verified(served: Served) -> None:
    await served.ask(ANN)
    count = served.passwords.count
    request = Request("GET", "/x", "", {"authorization": ANN})
    caller = await served.login.identify(ANYONE, request)
    served.users["ann"] = Row(11, False, "=ann's password"[:])
    await caller.confirm(Row(11, True, "=ann's password"))
    assert served.passwords.count == count


async def test_a_deleted_user_is_refused_at_once(served: Served) -> None:
    await served.ask(ANN)
    row = served.users.pop("ann")
    with pytest.raises(Unauthenticated, match="unknown user"):
        await served.ask(ANN)
    served.users["ann"] = row
    assert await served.ask(ANN) == "ann"


async def test_the_published_password_is_refused_to_admins_only(served: Served) -> None:
    served.users["root"] = Row(2, False, "=password1234")
    header = basic("root", "password1234")
    assert await served.ask(header) == "root"
    served.users["root"] = Row(2, True, "=password1234")
    with pytest.raises(Unauthenticated, match="published"):
        await served.ask(header)
    served.users["root"] = Row(2, False, "=password1234")
    assert await served.ask(header) == "root"


async def test_guesses_are_limited_and_lock_out_nobody_who_is_known(served: Served) -> None:
    await served.ask(ANN)
    for n in range(PER_USER.burst):
        with pytest.raises(Unauthenticated):
            await served.ask(basic("ann", f"guess {n}"))
    count = served.passwords.count
    with pytest.raises(TooManyFailures) as refused:
        await served.ask(basic("ann", "one more"))
    assert refused.value.name == "ann"
    with pytest.raises(Unauthenticated, match="wrong password"):
        await served.ask(basic("ann", "guess 0"))  # known to be wrong
    assert await served.ask(ANN) == "ann"
    assert served.passwords.count == count
    with pytest.raises(Unauthenticated, match="wrong password"):
        await served.ask(basic("ann", "one more"), client="b")


async def test_the_log_never_gets_a_name_that_is_no_users(served: Served) -> None:
    for n in range(PER_USER.burst + 1):
        with pytest.raises((Unauthenticated, TooManyFailures)) as refused:
            await served.ask(basic("my password, in the wrong field", f"{n}"))
        assert refused.value.name is None


async def test_simultaneous_guesses_do_not_pass_together(served: Served) -> None:
    asked = [served.ask(basic("ann", f"guess {n}")) for n in range(50)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    kinds = [type(answer) for answer in answers]
    assert kinds.count(Unauthenticated) == PER_USER.burst
    assert kinds.count(TooManyFailures) == 50 - PER_USER.burst


async def test_a_password_in_a_request_is_checked_as_in_a_login(served: Served) -> None:
    head, stored = Request("PATCH", "/x", "", {}, client="a"), "=ann's password"
    verify = served.by_password.verify
    await served.ask(ANN)
    count = served.passwords.count
    assert await verify("ann", "ann's password", stored, head) == stored
    assert served.passwords.count == count
    for n in range(PER_USER.burst):
        with pytest.raises(Unauthenticated):
            await verify("ann", f"guess {n}", stored, head)
    with pytest.raises(TooManyFailures):
        await verify("ann", "one more", stored, head)
    with pytest.raises(TooManyFailures):
        await served.ask(basic("ann", "one more"))
    assert await verify("ann", "ann's password", stored, head) == stored


async def test_a_remembered_password_does_not_match_a_changed_row(served: Served) -> None:
    head = Request("PATCH", "/x", "", {}, client="a")
    await served.ask(ANN)
    served.users["ann"] = Row(1, False, "=another")
    with pytest.raises(Unauthenticated):
        await served.by_password.verify("ann", "ann's password", "=another", head)


async def test_tokens(served: Served) -> None:
    token = served.tokens.issue("sso", served.users["sso"], 1)
    assert await served.ask(f"Bearer {token}") == "sso"
    assert await served.ask(f"bearer  {token}") == "sso"
    assert await served.ask("Bearer a.b.c") == "bob"
    served.users["sso"] = Row(3, False, "!other")
    with pytest.raises(Unauthenticated, match="change of password"):
        await served.ask(f"Bearer {token}")


async def test_the_gateway_has_a_header_of_its_own(served: Served) -> None:
    async def name(path: str, **headers: str) -> str | None:
        fields = {key.replace("_", "-"): value for key, value in headers.items()}
        request = Request("POST", path, "", fields)
        return (await served.login.identify(ANYONE, request)).name

    key = "Bearer sk-of-the-provider"
    assert await name("/gateway/x", authorization=key, x_mlflow_authorization=ANN) == "ann"
    assert await name("/gateway/x", authorization=ANN, x_mlflow_authorization="") == "ann"
    assert await name("/gateway/x", authorization=ANN) == "ann"
    with pytest.raises(Unauthenticated):
        await name("/x", x_mlflow_authorization=ANN)


async def test_open_routes_ask_for_nothing_and_metrics_has_a_token(served: Served) -> None:
    async def name(rule: object, **headers: str) -> str | None:
        request = Request("GET", "/metrics", "", headers)
        return (await served.login.identify(rule, request)).name  # type: ignore[arg-type]

    assert await name(OPEN) is None
    assert await name(OPEN, authorization="Basic !") is None
    assert await name(METRICS, authorization="Bearer for prometheus") is None
    assert await name(METRICS, authorization=ANN) == "ann"
    for rule in (ANYONE, ADMIN):
        with pytest.raises(Unauthenticated):
            await name(rule, authorization="Bearer for prometheus")
    for value in ("Bearer for prometheu", "Bearer ", "for prometheus", "Basic for prometheus"):
        with pytest.raises(Unauthenticated):
            await name(METRICS, authorization=value)
    with pytest.raises(Unauthenticated):
        await Login([]).identify(METRICS, Request("GET", "/", "", {"authorization": "Bearer "}))
