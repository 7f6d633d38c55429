"""The host in a Host header, and the entries of a list that match it."""

from __future__ import annotations

import pytest

from headrace.http.hosts import Patterns, is_allowed_by_default, parse


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("Tracking.Example.COM.", "tracking.example.com"),
        ("tracking.example.com.:5000", "tracking.example.com:5000"),
        ("[FD00:0:0::1]:80", "[fd00::1]:80"),
        ("10.0.0.1", "10.0.0.1"),
        ("headrace_1:5000", "headrace_1:5000"),
    ],
)
def test_a_host_has_one_spelling(host: str, text: str) -> None:
    found = parse(host)
    assert found is not None
    assert found.text == text


@pytest.mark.parametrize(
    "host",
    ["", ":80", "a b", "a\t", "user@host", "host:port", "host:80:80", "[::1", "[localhost]", "a/b"],
)
def test_text_that_names_no_host_is_none(host: str) -> None:
    assert parse(host) is None


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("[::1]:1", True),
        ("10.255.0.1", True),
        ("172.31.0.1:80", True),
        ("172.32.0.1", False),
        ("192.168.0.1", True),
        ("[fdff::1]", True),
        ("[::ffff:10.0.0.1]", True),
        ("[2001:db8::1]", False),
        ("10.evil.com", False),
        ("192.168.0.1.evil.com", False),
        ("172.16.evil.com:5000", False),
        ("10.1", False),
        ("010.0.0.1", False),
        ("localhost.evil.com", False),
    ],
)
def test_private_networks_are_matched_as_networks(host: str, allowed: bool) -> None:
    found = parse(host)
    assert found is not None
    assert is_allowed_by_default(found) is allowed


@pytest.mark.parametrize(
    ("entry", "host", "matches"),
    [
        ("10.*", "10.1.2.3:5000", True),
        ("10.*", "10.evil.com", False),
        ("10*", "10.evil.com", False),
        ("*.1", "10.0.0.1", True),
        ("192.168.1.*:5000", "192.168.1.7:5000", True),
        ("192.168.1.*:5000", "192.168.1.7.evil.com:5000", False),
        ("192.168.1.*:5000", "192.168.1.7:80", False),
        ("*:5000", "tracking.example.com:5000", True),
        ("*.Example.com", "TRACKING.example.com.", True),
        ("web10.*", "web10.example.com", True),
        ("tracking.example.com", "tracking.example.com:5000", False),
        ("[fd00::*]:*", "[FD00:0::7]:80", True),
        ("[FD00::7]", "[fd00:0::7]", True),
    ],
)
def test_a_glob_of_digits_matches_addresses_only_and_others_stay_globs(
    entry: str, host: str, matches: bool
) -> None:
    found = parse(host)
    assert found is not None
    assert Patterns([entry]).match(found.text, found) is matches
