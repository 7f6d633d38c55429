"""Connections that end at any byte, for every kind of write: it is applied once, and a retry gets the same answer."""

from __future__ import annotations

import contextlib
import random
import struct
import time
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.faults.load import GONE, Once
from tests.faults.write_kinds import (
    ENVIRONMENT,
    KINDS,
    NOT_WRITES,
    Attempt,
    generic,
    send,
    shared_things,
)
from tests.fix_postgres import fresh_database
from tests.fix_proxy import Cut, Cutter, Stream, address_of, behind
from tests.fix_server import headrace

from headrace.api.routes import ROUTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.faults.write_kinds import Kind
    from tests.wire import Answer

SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
EVERYWHERE = pytest.mark.parametrize(
    "everywhere", [False, pytest.param(True, marks=SOAK)], ids=["some places", "everywhere"]
)
SOME = 3  # positions, besides the last acknowledgement
WARM_UP = 5
PATIENCE_S = 30
# The look-up of webhooks follows a write in the background, on a connection of its own. Connections are counted in the
# order in which they carry something, so it must have ended before the next write.
QUIET_S = 0.01
TRIES = 3  # for a position that a write does not reach because another connection served it
PAUSE_S = 0.05  # between two attempts; MLflow's clients wait longer


def test_every_write_route_has_a_kind() -> None:
    """A new route that writes needs a row in `KINDS`, or one in `NOT_WRITES`."""
    routes = {
        generic(f"{route.method} {route.path}").replace("/*:path", "/*")
        for route in ROUTES
        if (not route.raw or route.path == "/v1/traces") and route.method != "GET"
    }
    short = {
        route.replace("/api/2.0/mlflow-artifacts/", "")
        .replace("/ajax-api/2.0/mlflow/", "")
        .replace("/api/2.0/mlflow/", "")
        for route in routes
    }
    assert {kind.name for kind in KINDS} == short - NOT_WRITES
    assert short >= NOT_WRITES


class Served(NamedTuple):
    """A server, the proxy on one side of it, its database, and the objects shared by all attempts."""

    proxy: Cutter
    url: str
    uri: str
    shared: dict[str, str]


@pytest.fixture(scope="module")
def cut_from_database(
    postgres_server: str, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """The proxy is between headrace and PostgreSQL."""
    directory = tmp_path_factory.mktemp("cuts")
    with (
        fresh_database(postgres_server, postgres_template) as uri,
        Cutter(*address_of(uri)) as proxy,
        behind(proxy, uri, directory, **ENVIRONMENT) as server,
    ):
        with Once(server.url) as wire:
            shared = shared_things(wire)
        yield Served(proxy, server.url, uri, shared)


@pytest.fixture(scope="module")
def cut_from_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The proxy is between the client and headrace."""
    directory = tmp_path_factory.mktemp("cuts")
    uri = f"sqlite:///{directory}/mlflow.db"
    with (
        headrace(uri, directory, environment=ENVIRONMENT) as server,
        Cutter(*address_of(server.url)) as proxy,
    ):
        with Once(server.url) as wire:
            shared = shared_things(wire)
        yield Served(proxy, server.url, uri, shared)


def boundaries(carried: bytes) -> list[int]:
    """The offsets of the messages in a stream of PostgreSQL's protocol: each is a letter, then a length."""
    places = [0]
    while places[-1] + 5 <= len(carried):
        (length,) = struct.unpack_from("!I", carried, places[-1] + 1)
        places.append(places[-1] + 1 + length)
    return [place for place in places if place <= len(carried)]


def before_last_completion(carried: bytes) -> int:
    """The offset of the last CommandComplete, often that of COMMIT."""
    return max(
        (place for place in boundaries(carried)[:-1] if carried[place : place + 1] == b"C"),
        default=0,
    )


def places(carried: Mapping[Stream, bytes], everywhere: bool, dice: random.Random) -> list[Cut]:
    """The offsets of cuts: before and inside every message; or before the last CommandComplete and at some others.

    Before the last CommandComplete the write is committed and headrace does not know it.
    """
    cuts: set[Cut] = set()
    for stream, data in carried.items():
        edges = boundaries(data)
        cuts |= {Cut(stream, place) for place in edges if place < len(data)}
        cuts |= {Cut(stream, dice.randrange(a + 1, b)) for a, b in pairwise(edges) if b > a + 1}
    if everywhere:
        return sorted(cuts)
    answers = [stream for stream in carried if not stream.forth]
    last = max(answers, key=lambda stream: before_last_completion(carried[stream]))
    return [
        Cut(last, before_last_completion(carried[last])),
        *dice.sample(sorted(cuts), min(SOME, len(cuts))),
    ]


def persist(wire: Once, attempt: Attempt) -> tuple[list[Answer], Answer]:
    """Repeat a write after 429 and 503, as MLflow's clients do; the refusals and the last answer."""
    refusals: list[Answer] = []
    until = time.monotonic() + PATIENCE_S
    while True:
        answer = send(wire, attempt.kind, attempt.known)
        if answer.status not in (429, 503) or time.monotonic() > until:
            return refusals, answer
        assert answer.headers["retry-after"].isdigit()
        refusals.append(answer)
        time.sleep(PAUSE_S)


@EVERYWHERE
@EVERY_KIND
def test_a_write_whose_database_connection_ends_happens_once(
    cut_from_database: Served, kind: Kind, everywhere: bool
) -> None:
    """One connection to PostgreSQL ends: the client gets 200, or 429 and then 200.

    503 means that the write may have been committed. It is allowed only for writes that every client repeats.
    """
    proxy, url, uri, shared = cut_from_database
    dice = random.Random(kind.name)
    reached = 0
    with Once(url) as wire:

        def write(cut: Cut | None) -> list[Answer]:
            attempt = Attempt.prepared(kind, wire, uri, shared)
            proxy.settle(QUIET_S)
            proxy.arm(cut)
            refusals, answer = persist(wire, attempt)
            assert answer.status == 200, f"{cut}: {refusals} {answer}"
            attempt.check(answer)
            return refusals

        for _ in range(WARM_UP):  # until the connections are open and their statements prepared
            write(None)
            if not any(data[:1] == b"\0" for data in proxy.carried.values()):
                break
        write(None)
        for cut in (chosen := places(proxy.carried, everywhere, dice)):
            for _ in range(TRIES):
                refusals = write(cut)
                has_cut = proxy.has_cut
                if not kind.repeatable:
                    assert {answer.status for answer in refusals} <= {429}, str(cut)
                write(None)
                if has_cut:
                    reached += 1
                    break
    assert reached > len(chosen) / 2


@EVERYWHERE
@EVERY_KIND
def test_a_request_that_ends_early_does_nothing(
    cut_from_client: Served, kind: Kind, everywhere: bool
) -> None:
    """The client disconnects before its last byte and sends the request again later: it is applied once."""
    proxy, url, uri, shared = cut_from_client
    dice = random.Random(kind.name)
    stream = Stream(0, forth=True)
    with Once(url) as direct, Once(f"http://127.0.0.1:{proxy.port}") as through:

        def attempt(cut: Cut | None) -> bool:
            one = Attempt.prepared(kind, direct, uri, shared)
            before = one.stored()
            proxy.arm(cut)
            if cut is not None:
                with contextlib.suppress(*GONE):
                    answer = send(through, kind, one.known)
                    assert answer.status >= 400, f"{cut}: {answer}"
                assert one.stored() == before
            through.close()
            answer = send(through, kind, one.known)
            assert answer.status == 200, f"{cut}: {answer}"
            one.check(answer)
            return cut is None or proxy.has_cut

        attempt(None)
        length = len(proxy.carried[stream])
        some = range(1, length) if everywhere else [length - 1, *dice.sample(range(1, length), 2)]
        for place in some:
            assert attempt(Cut(stream, place)), f"the request is shorter than {place} bytes"


@EVERYWHERE
@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.repeatable], ids=lambda kind: kind.name
)
def test_requests_that_clients_repeat_may_be_repeated(
    cut_from_client: Served, kind: Kind, everywhere: bool
) -> None:
    """The answer is lost at any byte: the repeated request gets 200 and changes nothing."""
    proxy, url, uri, shared = cut_from_client
    dice = random.Random(kind.name)
    stream = Stream(0, forth=False)
    with Once(url) as direct, Once(f"http://127.0.0.1:{proxy.port}") as through:

        def attempt(cut: Cut | None) -> None:
            one = Attempt.prepared(kind, direct, uri, shared)
            proxy.arm(cut)
            if cut is not None:
                # An answer that is cut inside its headers looks complete to the client.
                with contextlib.suppress(*GONE):
                    send(through, kind, one.known)
                assert proxy.has_cut
            through.close()
            answer = send(through, kind, one.known)
            assert answer.status == 200, f"{cut}: {answer}"
            one.check(answer)

        attempt(None)
        length = len(proxy.carried[stream])
        some = range(length) if everywhere else [0, dice.randrange(1, length)]
        for place in some:
            attempt(Cut(stream, place))
