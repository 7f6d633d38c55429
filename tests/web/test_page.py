"""MLflow's page as headrace serves it, compared file by file with stock; and the page without mlflow."""

from __future__ import annotations

import gzip
import time
from contextlib import ExitStack
from functools import cache
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from tests.fix_packages import environment_without
from tests.fix_server import Server, headrace, stock
from tests.wire import Answer, Wire

from headrace.extras import install_command
from headrace.web.bundle import bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX = "/"
YEAR_S = 31_536_000
COMPRESSED_S = 60.0
# A browser refuses a script of type application/octet-stream with nosniff.
OTHER_TYPE = {".cjs": ("text/javascript; charset=utf-8", "application/octet-stream")}


@cache
def files() -> list[str]:
    names = sorted(bundle())
    assert len(names) > 100, "the mlflow package of the test environment has its page"
    return names


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    with ExitStack() as stack:
        ours, theirs = (tmp_path_factory.mktemp(name) for name in ("ours", "stock"))
        yield (
            stack.enter_context(headrace(f"sqlite:///{ours}/mlflow.db", ours)),
            stack.enter_context(stock(f"sqlite:///{theirs}/mlflow.db", theirs)),
        )


@pytest.fixture
def ours(servers: tuple[Server, Server]) -> Iterator[Wire]:
    with Wire(servers[0].url) as wire:
        yield wire


@pytest.fixture
def theirs(servers: tuple[Server, Server]) -> Iterator[Wire]:
    with Wire(servers[1].url) as wire:
        yield wire


def fetch(wire: Wire, path: str, **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return wire.ask("GET", path, headers=sent)


def script() -> str:
    """The largest file of the page, a script with a hash in its name."""
    return max(files(), key=lambda name: bundle()[name].size)


def test_every_file_has_the_bytes_and_the_type_that_stock_sends(ours: Wire, theirs: Wire) -> None:
    for name in files():
        mine, its = (fetch(wire, f"/static-files/{name}") for wire in (ours, theirs))
        assert (mine.status, mine.body) == (its.status, its.body) == (200, its.body), name
        types = (mine.headers["content-type"], its.headers["content-type"])
        assert types == OTHER_TYPE.get(Path(name).suffix, (its.headers["content-type"],) * 2)


def test_the_start_page_is_stocks_and_is_asked_for_again_each_time(
    ours: Wire, theirs: Wire
) -> None:
    mine, its = fetch(ours, INDEX), fetch(theirs, INDEX)
    assert mine.body == its.body
    for name in ("content-type", "cache-control", "accept-ranges", "x-frame-options"):
        assert mine.headers[name] == its.headers[name]
    again = fetch(ours, INDEX, if_none_match=mine.headers["etag"])
    assert (again.status, again.body) == (304, b"")


def test_a_hashed_file_may_be_kept_for_ever_and_the_others_are_revalidated(ours: Wire) -> None:
    for name in files():
        kept = fetch(ours, f"/static-files/{name}", range="bytes=0-0").headers["cache-control"]
        hashed = bundle()[name].hashed
        assert kept == (f"public, max-age={YEAR_S}, immutable" if hashed else "no-cache"), name
    assert not bundle()["lib/notebook-trace-renderer/index.html"].hashed
    assert bundle()[script()].hashed


def test_text_is_compressed_for_clients_that_accept_it(ours: Wire) -> None:
    for name in [*files()[::7], script()]:
        path = f"/static-files/{name}"
        plain = fetch(ours, path)
        packed = fetch(ours, path, accept_encoding="br, gzip;q=0.8")
        if not bundle()[name].compressible:
            assert "content-encoding" not in packed.headers
            assert packed.body == plain.body
            continue
        deadline = time.monotonic() + COMPRESSED_S
        while "content-encoding" not in packed.headers:  # the copy is being made
            assert packed.body == plain.body
            assert time.monotonic() < deadline, name
            packed = fetch(ours, path, accept_encoding="br, gzip;q=0.8")
        assert packed.headers["content-encoding"] == "gzip"
        assert ("vary", "Accept-Encoding") in plain.lines
        assert ("vary", "Accept-Encoding") in packed.lines
        assert gzip.decompress(packed.body) == plain.body
        assert packed.headers["etag"] != plain.headers["etag"]
        again = fetch(ours, path, accept_encoding="gzip", if_none_match=packed.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        refused = fetch(ours, path, accept_encoding="gzip;q=0, identity")
        assert "content-encoding" not in refused.headers


def test_a_range_is_cut_from_the_uncompressed_file(ours: Wire) -> None:
    path = f"/static-files/{script()}"
    whole = fetch(ours, path)
    size = len(whole.body)
    for wanted, start, stop in [
        ("bytes=0-9", 0, 10),
        ("bytes=5-", 5, size),
        ("bytes=-7", size - 7, size),
        (f"bytes={size - 1}-{size + 100}", size - 1, size),
    ]:
        part = fetch(ours, path, range=wanted, accept_encoding="gzip")
        assert part.status == 206
        assert part.body == whole.body[start:stop]
        assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    outside = fetch(ours, path, range=f"bytes={size}-")
    assert (outside.status, outside.headers["content-range"]) == (416, f"bytes */{size}")
    for ignored in ("bytes=9-5", "bytes=0-1,5-6", "lines=1-2", "bytes=-"):
        assert fetch(ours, path, range=ignored).status == 200
    stale = fetch(ours, path, range="bytes=0-9", if_range='"another"')
    assert (stale.status, len(stale.body)) == (200, size)
    current = fetch(ours, path, range="bytes=0-9", if_range=whole.headers["etag"])
    assert current.status == 206


def test_head_tells_the_same_and_sends_nothing(ours: Wire) -> None:
    for path in (INDEX, f"/static-files/{script()}", "/health"):
        full, head = fetch(ours, path), ours.ask("HEAD", path)
        assert head.body == b""
        drop = {"date"}
        assert {k: v for k, v in head.headers.items() if k not in drop} == {
            k: v for k, v in full.headers.items() if k not in drop
        }
        assert fetch(ours, "/health").body == b"OK"  # the connection is still usable


@pytest.mark.parametrize(
    "path",
    [
        "/static-files/../../server/handlers.py",
        "/static-files/..%2f..%2f..%2fhandlers.py",
        "/static-files/%2e%2e/%2e%2e/handlers.py",
        "/static-files//etc/passwd",
        "/static-files/%2fetc%2fpasswd",
        "/static-files/static",
        "/static-files/static/",
        "/static-files/",
        "/static-files/index.html%00",
        "/static-files/static%5cjs",
        "/build/..%2findex.html",
        "/build/",
        "/index.html",
        "/favicon.ico",
        "/experiments",
    ],
)
def test_nothing_but_the_page_is_served(ours: Wire, theirs: Wire, path: str) -> None:
    assert fetch(ours, path).status == 404
    # Stock's web framework first redirects to the path without repeated slashes.
    assert fetch(theirs, path).status == (308 if "//" in unquote(path) else 404)


def test_the_files_have_a_second_name_that_is_always_revalidated(ours: Wire) -> None:
    for name in ("favicon.ico", script()):
        first, second = fetch(ours, f"/static-files/{name}"), fetch(ours, f"/build/{name}")
        assert second.body == first.body
        assert second.headers["cache-control"] == "no-cache"


def test_the_page_works_under_a_prefix(tmp_path: Path) -> None:
    with (
        headrace(f"sqlite:///{tmp_path}/m.db", tmp_path, "--static-prefix", "/team") as server,
        Wire(server.url) as wire,
    ):
        assert b"static-files/static/js/main" in fetch(wire, "/team/").body
        assert fetch(wire, f"/team/static-files/{script()}").status == 200
        assert fetch(wire, "/").status == 404
        moved = fetch(wire, "/team")
        assert (moved.status, moved.headers["location"]) == (308, "/team/")


def test_without_mlflow_a_page_explains_how_to_get_the_real_one(tmp_path: Path) -> None:
    assert find_spec("mlflow") is not None, "else this test shows nothing"
    env = environment_without(tmp_path / "env", "mlflow")
    with (
        headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, environment=env) as server,
        Wire(server.url) as wire,
    ):
        page = fetch(wire, "/")
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert install_command("mlflow") in unescape(page.body.decode())
        assert b"SQLite, schema dc11669786a5" in page.body
        assert b'href="headrace/api"' in page.body
        listing = fetch(wire, "/headrace/api")
        assert b"/api/2.0/mlflow/runs/log-batch" in listing.body
        assert b"/api/3.0/mlflow/traces/search" in listing.body
        assert fetch(wire, "/static-files/favicon.ico").status == 404
