"""The server's key for secrets. Deriving it takes 0.2 s of CPU time, so it happens once, in a thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Final

from headrace.contract import envelope
from headrace.settings.table import Settings

log = logging.getLogger(__name__)
_lock: Final = threading.Lock()
# By passphrase and version. A process has one; a test may have several.
_known: Final[dict[tuple[str, int], bytes]] = {}


async def server_key(settings: Settings) -> bytes:
    """The key of the settings' passphrase and version. Raises NOT_IMPLEMENTED (no package)."""
    wanted = settings.crypto_kek_passphrase, settings.crypto_kek_version
    key = _known.get(wanted)
    return await asyncio.to_thread(_derived, *wanted) if key is None else key


def _derived(passphrase: str, version: int) -> bytes:
    envelope.check_available()
    with _lock:  # so that concurrent first requests derive it once
        key = _known.get((passphrase, version))
        if key is None:
            if not passphrase:
                log.warning(
                    "MLFLOW_CRYPTO_KEK_PASSPHRASE is not set: the secrets of the AI gateway are "
                    "encrypted with a passphrase that is public"
                )
            key = _known[passphrase, version] = envelope.derive(passphrase, version)
        return key
