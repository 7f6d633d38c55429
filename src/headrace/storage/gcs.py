"""Google Cloud Storage, configured by the same variables as Google's own libraries."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.store import GCSStore

from headrace.contract.errors import invalid
from headrace.storage.objects import CLIENT, RETRY, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import ClientConfig, GCSConfig


def open_store(uri: str, environ: Mapping[str, str] = os.environ) -> ObjectStore:
    """The store of a gs:// URI.

    Multipart uploads are not offered: obstore cannot sign their URLs, and clients fall back.
    """
    parts = urlsplit(uri)
    if not parts.netloc:
        raise invalid(f"Not a GCS URI: {uri}")
    config: GCSConfig = {}
    options: ClientConfig = CLIENT
    if emulator := environ.get("STORAGE_EMULATOR_HOST"):
        address = emulator if "://" in emulator else f"http://{emulator}"
        nobody = {"client_email": "", "private_key": "", "private_key_id": ""}
        there = {"gcs_base_url": address, "disable_oauth": True}
        config = {"service_account_key": json.dumps(nobody | there)}
        options = {**CLIENT, "allow_http": True}
    bucket = GCSStore(parts.netloc, config=config, client_options=options, retry_config=RETRY)
    return ObjectStore(bucket, parts.path)
