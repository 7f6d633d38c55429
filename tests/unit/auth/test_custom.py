"""A custom authorization_function gets a Flask request, and its result is the caller or the answer."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from flask import Response, redirect, request, session
from werkzeug.datastructures import Authorization

from headrace.auth.authority import Answered
from headrace.auth.custom import MAX_CALLS, THREADS, CustomLogin
from headrace.contract.errors import ApiError
from headrace.http.messages import Request
from headrace.settings.kinds import Secret, SettingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

import contextlib
import sys
from types import ModuleType

KEY = Secret("the secret key")


class MlflowException(Exception):
    """As MLflow's."""

    def __init__(self, message: str, error_code: str) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code


@contextlib.asynccontextmanager
async def login(function: Callable[[], Any]) -> AsyncIterator[CustomLogin]:
    """A login by this function."""
    module = ModuleType("custom_authorization")
    module.__dict__["authorize"] = function
    sys.modules[module.__name__] = module
    found = CustomLogin("custom_authorization:authorize", KEY, "sqlite:///users.db")
    found.start()
    try:
        yield found
    finally:
        found.close()
        del sys.modules[module.__name__]


def head(method: str = "GET", target: str = "/x", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    path, _, query = target.partition("?")
    sent = {"host": "mlflow.example.com:8443", **named}
    return Request(
        method, path, query, sent, target=target, client="10.1.2.3", receive=None, scheme="https"
    )


async def caller_of(
    opened: AbstractAsyncContextManager[CustomLogin], request: Request
) -> str | None:
    async with opened as found:
        return (await found.identify(request)).name


async def test_the_function_sees_the_request_that_was_sent() -> None:
    seen: dict[str, Any] = {}

    def authorize() -> Any:
        seen.update(
            method=request.method,
            path=request.path,
            args=request.args.to_dict(),
            url=request.url,
            remote=request.remote_addr,
            header=request.headers.get("X-Token"),
            cookie=request.cookies.get("a"),
            type=request.content_type,
            authorization=request.authorization,
            session=dict(session),
            thread=threading.current_thread().name,
        )
        return Authorization("basic", {"username": "ann", "password": "x"})

    sent = head(
        "POST",
        "/p/%C3%A9%2Fx?a=%20b&c=d",
        x_token="t",
        cookie="a=b",
        content_type="application/json",
        authorization="Bearer abc",
    )
    assert await caller_of(login(authorize), sent) == "ann"
    assert seen.pop("thread").startswith("authorization")
    assert seen.pop("authorization").token == "abc"
    assert seen == {
        "method": "POST",
        "path": "/p/é/x",
        "args": {"a": " b", "c": "d"},
        "url": "https://mlflow.example.com:8443/p/é/x?a=%20b&c=d",
        "remote": "10.1.2.3",
        "header": "t",
        "cookie": "b",
        "type": "application/json",
        "session": {},
    }


@pytest.mark.parametrize("host", ["", "a b", "[::1", "x:99999", "evil.com:x", "é"])
async def test_an_odd_host_is_no_failure(host: str) -> None:
    sent = head(host=host)
    function = lambda: Authorization("jwt", {"username": "ann"})  # noqa: E731
    assert await caller_of(login(function), sent) == "ann"


async def test_a_response_is_sent_as_it_is() -> None:
    def authorize() -> Any:
        answer = Response("no", status=418, mimetype="text/plain")
        answer.headers.add("Set-Cookie", "a=b")
        answer.headers.add("Set-Cookie", "c=d")
        return answer

    with pytest.raises(Answered) as answered:
        await caller_of(login(authorize), head())
    assert (answered.value.status, answered.value.body) == (418, b"no")
    assert [value for name, value in answered.value.headers if name == "set-cookie"] == [
        "a=b",
        "c=d",
    ]
    assert "content-length" not in dict(answered.value.headers)
    with pytest.raises(Answered) as answered:
        await caller_of(login(lambda: redirect("/login")), head())
    assert dict(answered.value.headers)["location"] == "/login"


@pytest.mark.parametrize("result", ["ann", None, True, ("ann", 200), {"username": "ann"}])
async def test_any_other_result_is_an_error(result: Any) -> None:
    with pytest.raises(ApiError) as refused:
        await caller_of(login(lambda: result), head())
    assert refused.value.code == "INTERNAL_ERROR"
    assert refused.value.message == (
        f"Unsupported result type from custom_authorization:authorize: '{type(result).__name__}'"
    )


async def test_a_name_that_is_not_a_user_is_refused() -> None:
    for name in ("nobody", None, ""):
        function = lambda: Authorization("basic", {"username": name})  # noqa: B023, E731
        async with login(function) as found:
            caller = await found.identify(head())
            assert caller.name == str(name)  # never None, which is an anonymous caller
            with pytest.raises(ApiError) as refused:
                await caller.confirm(None)
            assert refused.value.status == 404
            assert refused.value.message == f"User with username={name} not found"


@pytest.mark.parametrize(
    ("error", "raised", "status"),
    [
        (MlflowException("no", "PERMISSION_DENIED"), ApiError, 403),
        (MlflowException("no", "SOMETHING_NEW"), ApiError, 500),
        (ValueError("a secret"), ValueError, 0),
        (StopIteration(), StopIteration, 0),
        (SystemExit(1), SystemExit, 0),
    ],
)
async def test_an_exception_of_the_function(error: Any, raised: Any, status: int) -> None:
    def authorize() -> Any:
        raise error

    async with login(authorize) as found:
        result = await outcome(found)
    assert isinstance(result, raised)
    if isinstance(result, ApiError):
        assert result.status == status


async def outcome(found: CustomLogin) -> BaseException | None:
    try:
        await found.identify(head())
    except RuntimeError as error:  # a coroutine cannot raise StopIteration
        return error.__cause__
    except BaseException as error:  # noqa: BLE001 returned to the test
        return error
    return None


async def test_threads_and_waiting_requests_are_bounded() -> None:
    release = threading.Event()
    running: list[int] = []

    def authorize() -> Any:
        running.append(1)
        release.wait(30)
        return Authorization("basic", {"username": "ann"})

    async with login(authorize) as found:
        calls = [asyncio.create_task(found.identify(head())) for _ in range(MAX_CALLS)]
        while len(running) < THREADS:
            await asyncio.sleep(0.01)
        with pytest.raises(ApiError) as refused:
            await found.identify(head())
        assert refused.value.status == 503
        for call in calls[: MAX_CALLS // 2]:
            call.cancel()  # the clients leave; their calls are still counted
        await asyncio.sleep(0)
        assert found._calls == MAX_CALLS
        assert len(running) == THREADS
        release.set()
        done = await asyncio.gather(*calls[MAX_CALLS // 2 :])
        assert {caller.name for caller in done} == {"ann"}
        while found._calls:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("function", ["no_such_module:f", "json:no_such_function"])
def test_a_function_that_cannot_be_imported_stops_the_start(function: str) -> None:
    with pytest.raises(SettingError, match="cannot be imported"):
        CustomLogin(function, KEY, "sqlite:///users.db").start()


async def test_the_session_is_signed_with_the_key_of_the_server() -> None:
    async with login(lambda: None) as found:
        assert found._app.secret_key == "the secret key"
