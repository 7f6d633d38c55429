"""Emulators of Google Cloud Storage and Azure Blob Storage, each in its own process.

Azure's is Azurite, Microsoft's own emulator, an npm package (`make azurite`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.fix_s3 import BUCKET
from tests.fix_server import ROOT, free_port
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

READY_S = 60
# The documented account and key of Azure's storage emulators; they are no secret.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Cloud:
    """A destination for artifacts, and the environment variables that give a server access to it."""

    destination: str
    environment: dict[str, str]
    uploads_parts: bool


@contextmanager
def answering(argv: list[str], url: str) -> Iterator[None]:
    """Run a process; enters the block when it answers HTTP requests, whatever their status."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + READY_S
        while True:
            assert process.poll() is None, f"{argv[0]} ended by itself"
            assert time.monotonic() < deadline, f"{argv[0]} was not ready after {READY_S} s"
            with suppress(OSError, http.client.HTTPException), Wire(url) as wire:
                wire.ask("GET", "/")
                break
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


# obstore uses Google's XML API, whose requests here are the same as S3's except for the authorization header, which
# moto does not understand.
GOOGLE = """
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

s3 = DomainDispatcherApplication(create_backend_app)

OURS = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, Signature=0"

def for_s3(environ, start_response):
    assert environ.get("HTTP_AUTHORIZATION", "Bearer").startswith("Bearer")
    return s3({**environ, "HTTP_AUTHORIZATION": OURS}, start_response)

run_simple("127.0.0.1", int(sys.argv[1]), for_s3, threaded=True)
"""


@pytest.fixture(scope="session")
def google() -> Iterator[Cloud]:
    """moto's server as a stand-in for Google's, with a bucket."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with answering([sys.executable, "-W", "ignore", "-c", GOOGLE, str(port)], url):
        with Wire(url) as wire:
            assert wire.ask("PUT", f"/{BUCKET}").status == 200
        yield Cloud(f"gs://{BUCKET}/ours", {"STORAGE_EMULATOR_HOST": url}, uploads_parts=False)


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Azurite, with a container."""
    program = shutil.which("azurite-blob", path=str(ROOT / ".azurite/node_modules/.bin"))
    program = program or shutil.which("azurite-blob")
    if program is None:
        pytest.skip("needs Azurite (make azurite)")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent"]
    argv += ["--disableTelemetry", "--location", str(tmp_path_factory.mktemp("azurite"))]
    with answering([*argv, "--skipApiVersionCheck"], url):
        make_container(url)
        endpoint = f"{url}/{ACCOUNT}"
        text = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint};"
        yield Cloud(
            f"wasbs://{BUCKET}@{ACCOUNT}.blob.core.windows.net/ours",
            {"AZURE_STORAGE_CONNECTION_STRING": text},
            uploads_parts=True,
        )


def make_container(url: str) -> None:
    """Create the container with a request signed with the account's key, as Azure documents it."""
    date, version = format_datetime(datetime.now(UTC), usegmt=True), "2021-12-02"
    canonical = f"x-ms-date:{date}\nx-ms-version:{version}\n"
    resource = f"/{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
    text = "PUT" + "\n" * 12 + canonical + resource
    mac = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request(
        "PUT",
        f"/{ACCOUNT}/{BUCKET}?restype=container",
        headers={
            "x-ms-date": date,
            "x-ms-version": version,
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}",
        },
    )
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    connection.close()
