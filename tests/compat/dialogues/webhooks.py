"""webhooks: create, get, list, update, delete. Deliveries are compared in test_webhook_deliveries.py."""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, delete, get, patch, post

URL = "https://8.8.8.8/hook?token=1"  # an IP address, so that no name is resolved
CREATED = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]
ALL = [
    ("REGISTERED_MODEL", "CREATED"),
    ("MODEL_VERSION", "CREATED"),
    ("MODEL_VERSION_TAG", "SET"),
    ("MODEL_VERSION_TAG", "DELETED"),
    ("MODEL_VERSION_ALIAS", "CREATED"),
    ("MODEL_VERSION_ALIAS", "DELETED"),
    ("PROMPT", "CREATED"),
    ("PROMPT_VERSION", "CREATED"),
    ("PROMPT_TAG", "SET"),
    ("PROMPT_TAG", "DELETED"),
    ("PROMPT_VERSION_TAG", "SET"),
    ("PROMPT_VERSION_TAG", "DELETED"),
    ("PROMPT_ALIAS", "CREATED"),
    ("PROMPT_ALIAS", "DELETED"),
    ("BUDGET_POLICY", "EXCEEDED"),
]
BAD_NAMES: dict[str, Any] = {
    "empty": "",
    "null": None,
    "blank": " ",
    "space": "a b",
    "slash": "a/b",
    "leading dot": ".a",
    "trailing dash": "a-",
    "unicode": "é",
    "line end": "a\n",
    "number": 7,
    "64 characters": "n" * 64,
}
BAD_URLS: dict[str, Any] = {
    "empty": "",
    "blank": "  ",
    "number": 7,
    "no scheme": "8.8.8.8/x",
    "http": "http://8.8.8.8/x",
    "file": "file:///etc/passwd",
    "no host": "https:///x",
    "bad brackets": "https://[x",
    "loopback": "https://127.0.0.1/x",
    "loopback, short": "https://127.1/x",
    "loopback, one number": "https://2130706433/x",
    "loopback, IPv6": "https://[::1]/x",
    "loopback, mapped": "https://[::ffff:127.0.0.1]/x",
    "loopback, 6to4": "https://[2002:7f00:1::]/x",
    "private": "https://10.1.2.3/x",
    "metadata": "https://169.254.169.254/latest",
    "metadata, NAT64": "https://[64:ff9b::a9fe:a9fe]/x",
    "any": "https://0.0.0.0/x",
    "carrier": "https://100.64.0.1/x",
}
BAD_EVENTS: dict[str, Any] = {
    "empty": [],
    "null": None,
    "text": "REGISTERED_MODEL.CREATED",
    "unknown entity": [{"entity": "RUN", "action": "CREATED"}],
    "unknown action": [{"entity": "PROMPT", "action": "EATEN"}],
    "no action": [{"entity": "PROMPT"}],
    "no entity": [{"action": "CREATED"}],
    "wrong pair": [{"entity": "REGISTERED_MODEL", "action": "DELETED"}],
    "wrong pair of two": [{"entity": "MODEL_VERSION_TAG", "action": "CREATED"}],
    "nothing": [{}],
}


def hook(label: str = "a webhook", **more: Any) -> Ask:
    """Create a webhook and keep its id."""
    body = {"name": "hook", "url": URL, "events": CREATED} | more
    return post(label, "webhooks", body, keep={"hook": "webhook.webhook_id"})


def change(label: str, **fields: Any) -> Ask:
    """Change `$hook`."""
    return patch(label, "webhooks/$hook", fields)


LIFE = Dialogue(
    "life of a webhook",
    (
        hook(),
        get("get", "webhooks/$hook"),
        hook(
            "everything",
            description="d",
            status="DISABLED",
            secret="s",
            events=[{"entity": entity, "action": action} for entity, action in ALL],
        ),
        get("get everything", "webhooks/$hook"),
        change("nothing"),
        change("name", name="Other.name-1"),
        change("description", description="new"),
        change("no description", description=""),
        change("URL", url="https://1.1.1.1/x"),
        change("events", events=[{"entity": "PROMPT", "action": "CREATED"}]),
        change("no events", events=[]),
        change("status", status="ACTIVE"),
        change("secret", secret="t"),
        change("no secret", secret=""),
        change("numbers for names", events=[{"entity": 2, "action": 1}]),
        get("get changed", "webhooks/$hook"),
        change("bad name", name="a b"),
        change("empty name", name=""),
        change("bad URL", url="http://8.8.8.8"),
        change("bad status", status="ASLEEP"),
        change("status number", status=1),
        change("bad event", events=[{"entity": "PROMPT", "action": "DELETED"}]),
        change("name number", name=7),
        get("get after refusals", "webhooks/$hook"),
        delete("delete", "webhooks/$hook"),
        get("get deleted", "webhooks/$hook"),
        change("change deleted", name="x"),
        delete("delete deleted", "webhooks/$hook"),
        post("test deleted", "webhooks/$hook/test", {}),
        get("get unknown", "webhooks/0"),
        patch("change unknown", "webhooks/0", {}),
        delete("delete unknown", "webhooks/0"),
        post("test unknown", "webhooks/0/test", {}),
        post("test with a bad event", "webhooks/0/test", {"event": {"entity": "PROMPT"}}),
        post("test without a type", "webhooks/0/test", headers={}),
    ),
)

PAGES = Dialogue(
    "pages of webhooks",
    (
        get("first", "webhooks", {"max_results": 1}),
        *(hook(f"hook {number}", name=f"p{number}") for number in range(3)),
        get("one", "webhooks", {"max_results": 1}, keep={"next": "next_page_token"}),
        get("the next", "webhooks", {"max_results": 1, "page_token": "$next"}),
        get("zero", "webhooks", {"max_results": 0}),
        get("too few", "webhooks", {"max_results": -1}),
        get("too many", "webhooks", {"max_results": 1001}),
        get("no number", "webhooks", {"max_results": "x"}),
        get("bad token", "webhooks", {"page_token": "x"}),
    ),
)

REFUSALS = Dialogue(
    "webhooks that are refused",
    (
        post("nothing", "webhooks", {}),
        post("no events", "webhooks", {"name": "a", "url": URL}),
        post("no URL", "webhooks", {"name": "a", "events": CREATED}),
        *(hook(f"name {label}", name=name) for label, name in BAD_NAMES.items()),
        *(hook(f"URL {label}", url=url) for label, url in BAD_URLS.items()),
        *(hook(f"events {label}", events=events) for label, events in BAD_EVENTS.items()),
        hook("status number", status=1),
        hook("bad status", status="ASLEEP"),
        hook("secret number", secret=1),
        hook("description number", description=1),
        hook("63 characters", name="n" * 63),
    ),
)

DIALOGUES = [LIFE, PAGES, REFUSALS]
