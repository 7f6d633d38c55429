"""Artifacts on a real disk: when they become visible, what remains after failures, which paths are refused."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace.contract.errors import ApiError
from headrace.storage import staging
from headrace.storage.base import LIST_BATCH, IsDirectory, StorageFull
from headrace.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

MIB = 1 << 20


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture(params=["unnamed", "hidden"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, threads: ThreadPoolExecutor
) -> Iterator[LocalStore]:
    """A store on a file system that can hold unnamed files, and as on one that cannot."""
    device = tmp_path.stat().st_dev
    if request.param == "hidden":
        staging._can_be_unnamed[device] = False
    yield LocalStore(str(tmp_path / "root"), threads, sync=False)
    staging._can_be_unnamed.pop(device, None)


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def content(store: LocalStore, path: str) -> bytes:
    file = await store.open(path)
    try:
        return b"".join([chunk async for chunk in file.chunks(0, file.size)])
    finally:
        await file.close()


async def names(store: LocalStore, path: str = "") -> list[str]:
    return [entry.name async for batch in store.listing(path) for entry in batch]


def everything(store: LocalStore) -> list[str]:
    """Every name below the root, including hidden ones."""
    return sorted(
        os.path.relpath(f"{at}/{name}", store.root)
        for at, directories, files in os.walk(store.root)
        for name in directories + files
    )


@pytest.mark.parametrize("size", [0, 1, 64 << 10, (64 << 10) + 1, 3 * MIB + 17])
async def test_a_file_comes_back_as_it_was_sent(store: LocalStore, size: int) -> None:
    data = os.urandom(size)
    await store.put(
        "a/b/c.bin", pieces(*(data[n : n + 70_000] for n in range(0, size, 70_000))), size
    )
    assert await content(store, "a/b/c.bin") == data
    assert everything(store) == ["a", "a/b", "a/b/c.bin"]


async def test_a_file_has_the_mode_that_open_gives(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    await store.put("f", pieces(b"x"), 1)
    usual = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE(Path(store.root, "f").stat().st_mode) == usual


async def test_a_file_is_replaced_as_a_whole(store: LocalStore) -> None:
    await store.put("f", pieces(b"first"), 5)
    reader = await store.open("f")
    await store.put("f", pieces(b"second"), 6)
    assert b"".join([c async for c in reader.chunks(0, reader.size)]) == b"first"
    assert await content(store, "f") == b"second"
    assert everything(store) == ["f"]


async def test_one_byte_at_a_time_is_fine(store: LocalStore) -> None:
    data = os.urandom(3000)
    await store.put("f", pieces(*(data[n : n + 1] for n in range(3000))), None)
    assert await content(store, "f") == data


async def test_nothing_is_visible_until_a_file_is_whole(store: LocalStore) -> None:
    seen: list[list[str]] = []

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * (2 * MIB)
            seen.append(await names(store, "run"))

    await store.put("run/big", slowly(), None)
    assert seen == [[], [], []]
    assert await names(store, "run") == ["big"]


async def test_a_client_that_vanishes_leaves_nothing_behind(store: LocalStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * (2 * MIB)
        raise ConnectionResetError("the client went away")

    await store.put("kept/f", pieces(b"old"), 3)
    for path in ("new/deep/f", "kept/f"):
        with pytest.raises(ConnectionResetError):
            await store.put(path, broken(), None)
    store._threads.submit(int).result()
    await eventually(lambda: everything(store) == ["kept", "kept/f"])
    assert await content(store, "kept/f") == b"old"


async def test_an_upload_that_is_cancelled_leaves_nothing_behind(store: LocalStore) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * MIB
            begun.set()
            await asyncio.sleep(0.01)

    task = asyncio.create_task(store.put("new/f", endless(), None))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: everything(store) == [])


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until a condition is true; the clean-up of an upload runs in a thread."""
    for _ in range(200):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the condition never came true")


async def test_a_directory_that_is_deleted_meanwhile_is_made_again(store: LocalStore) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"x" * (2 * MIB)
        await store.delete("run")
        yield b"y"

    await store.put("run/first", pieces(b"1"), 1)
    await store.put("run/second", slowly(), None)
    assert everything(store) == ["run", "run/second"]


@pytest.mark.parametrize("path", ["d", "f/x", "f/x/y", "n" * 300, "loop/x"])
async def test_an_impossible_path_is_refused_with_a_message(store: LocalStore, path: str) -> None:
    await store.put("f", pieces(b"x"), 1)
    await store.put("d/x", pieces(b"x"), 1)
    Path(store.root, "loop").symlink_to("loop")
    before = everything(store)
    for size in (1, 2 * MIB):
        with pytest.raises(ApiError) as refusal:
            await store.put(path, pieces(b"x" * size), size)
        assert refusal.value.status == 400
    await eventually(lambda: everything(store) == before)


async def test_links_out_of_the_root_are_not_followed(store: LocalStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    await store.put("inside/f", pieces(b"x"), 1)
    for name, to in (("dir", outside), ("file", outside / "secret"), ("gone", tmp_path / "none")):
        Path(store.root, name).symlink_to(to)
    for path in ("dir/secret", "dir", "file", "gone"):
        with pytest.raises(ApiError, match="outside the artifact directory"):
            await store.open(path)
    for path in ("dir/new", "dir/a/b/new", "file", "gone"):
        with pytest.raises(ApiError, match="outside the artifact directory"):
            await store.put(path, pieces(b"x"), 1)
    with pytest.raises(ApiError, match="outside the artifact directory"):
        await names(store, "dir")
    for path in ("dir/secret", "dir"):
        with pytest.raises(ApiError, match="outside the artifact directory"):
            await store.delete(path)
    assert [p.name for p in outside.iterdir()] == ["secret"]
    assert not (tmp_path / "none").exists()


async def test_links_within_the_root_work(store: LocalStore) -> None:
    await store.put("d/f", pieces(b"x"), 1)
    Path(store.root, "link").symlink_to("d")
    assert await content(store, "link/f") == b"x"
    await store.put("link/g", pieces(b"y"), 1)
    assert await names(store, "link") == await names(store, "d") == ["f", "g"]
    await store.delete("link")
    assert await names(store) == ["d"]


async def test_a_root_behind_a_link_works(threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    store = LocalStore(str(tmp_path / "link"), threads, sync=True)
    await store.put("a/f", pieces(b"x"), 1)
    assert await content(store, "a/f") == b"x"
    assert await names(store, "a") == ["f"]
    await store.delete("a")
    assert await names(store) == []


async def test_a_missing_file_is_not_found(store: LocalStore) -> None:
    await store.put("f", pieces(b"x"), 1)
    Path(store.root, "loop").symlink_to("loop")
    Path(store.root, "dangling").symlink_to("nowhere")
    for path in ("nope", "nope/deeper", "f/x", "n" * 300, "loop", "dangling"):
        with pytest.raises(ApiError, match="No such artifact") as refusal:
            await store.open(path)
        assert refusal.value.status == 404
        assert await names(store, path) == []
    for path in ("", ".", "d/"):
        if path == "d/":
            await store.put("d/f", pieces(b"x"), 1)
        with pytest.raises(IsDirectory):
            await store.open(path)


async def test_a_pipe_is_no_artifact(store: LocalStore) -> None:
    await store.put("f", pieces(b"x"), 1)
    os.mkfifo(Path(store.root, "pipe"))
    with pytest.raises(ApiError, match="not a regular file"):
        await store.open("pipe")


async def test_a_listing_is_sorted_and_hides_unfinished_files(store: LocalStore) -> None:
    for name in ("b", "a/x", "Z", "é"):
        await store.put(name, pieces(b"12"), 2)
    Path(store.root, ".artifact.uploading.1234").touch()
    Path(store.root, "dangling").symlink_to("nowhere")
    (batch,) = [b async for b in store.listing("")]
    assert batch == [("Z", False, 2), ("a", True, None), ("b", False, 2), ("é", False, 2)]
    with pytest.raises(ApiError, match="No such artifact"):
        await store.open(".artifact.uploading.1234")


async def test_a_name_that_is_not_utf8_does_not_break_a_listing(store: LocalStore) -> None:
    await store.put("f", pieces(b"x"), 1)
    Path(store.root, os.fsdecode(b"\xff")).touch()
    assert await names(store) == ["f", "\ufffd"]


async def test_a_large_directory_comes_in_batches(store: LocalStore) -> None:
    Path(store.root, "d").mkdir(parents=True)
    count = 2 * LIST_BATCH + 5
    for n in range(count):
        Path(store.root, "d", f"{n:06}").touch()
    batches = [batch async for batch in store.listing("d")]
    assert [len(batch) for batch in batches] == [LIST_BATCH, LIST_BATCH, 5]
    assert [e.name for batch in batches for e in batch] == [f"{n:06}" for n in range(count)]


async def test_deleting_takes_files_and_whole_directories(store: LocalStore) -> None:
    for name in ("run/a", "run/d/b", "other"):
        await store.put(name, pieces(b"x"), 1)
    await store.delete("run/a")
    await store.delete("run/a")
    await store.delete("nope/nope")
    assert everything(store) == ["other", "run", "run/d", "run/d/b"]
    await store.delete("run/")
    assert everything(store) == ["other"]


@pytest.mark.parametrize("path", ["", ".", "./", "./."])
async def test_the_root_itself_is_never_deleted(store: LocalStore, path: str) -> None:
    await store.put("f", pieces(b"x"), 1)
    with pytest.raises(ApiError, match="Invalid path"):
        await store.delete(path)
    assert everything(store) == ["f"]


async def test_a_file_that_gets_shorter_interrupts_the_answer(store: LocalStore) -> None:
    await store.put("f", pieces(b"x" * MIB), MIB)
    file = await store.open("f")
    os.truncate(Path(store.root, "f"), 10)
    with pytest.raises(OSError, match="became shorter"):
        _ = [chunk async for chunk in file.chunks(0, file.size)]
    await file.close()


async def test_a_file_larger_than_the_free_space_is_refused_before_it_is_sent(
    store: LocalStore,
) -> None:
    with pytest.raises(StorageFull) as refusal:
        await store.put("f", pieces(b"x" * (2 * MIB)), 1 << 60)
    assert refusal.value.status == 507
    await eventually(lambda: everything(store) == [])


FULL = """
import asyncio, os, resource, sys
from concurrent.futures import ThreadPoolExecutor
from headrace.storage.base import StorageFull
from headrace.storage.local import LocalStore
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))

async def chunks(size):
    for _ in range(size >> 16):
        yield b"x" * (1 << 16)

async def main():
    store = LocalStore(sys.argv[1], ThreadPoolExecutor(1), sync=False)
    await store.put("run/fits", chunks(2 << 20), None)
    try:
        await store.put("run/new/too-long", chunks(4 << 20), None)
    except StorageFull as error:
        print(error.status)
    store._threads.shutdown()
    print([names for _, *names in os.walk(sys.argv[1])])

asyncio.run(main())
"""


def test_a_file_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    """A limit of the file size simulates a full disk without a separate disk."""
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "root")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout.splitlines() == ["507", "[[['run'], []], [[], ['fits']]]"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
async def test_a_full_disk_is_507_and_keeps_what_was_there(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("this machine does not let a test mount a disk")
    try:
        store = LocalStore(str(disk / "root"), threads, sync=True)
        await store.put("f", pieces(b"x" * MIB), MIB)
        for length in (None, 8 * MIB):
            with pytest.raises(StorageFull):
                await store.put("new/big", pieces(*[b"y" * MIB] * 8), length)
        await eventually(lambda: everything(store) == ["f"])
        await eventually(lambda: os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize >= 2 * MIB)
        await store.put("new/fits", pieces(b"y" * MIB), MIB)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
