"""Writes the pages of docs/reference that are made from the source; `make docs` runs it."""

from __future__ import annotations

from pathlib import Path

from headrace.accepted import ACCEPTED
from headrace.config import SETTINGS
from headrace.setting import Setting, shown

INTRODUCTION = """\
# Settings

<!-- Made by `make docs` from src/headrace/config.py. Do not edit. -->

A flag of `headrace server` wins over an environment variable, a variable over the default. A
variable that is set to nothing counts as not set. `headrace config` takes the same flags and
prints every setting with its value and where it came from. Passwords are never printed.

Settings whose variable begins with `HEADRACE_` are headrace's own; the others are those of
`mlflow server` and mean the same there.
"""
ACCEPTED_INTRODUCTION = """\
Understood, so that a command line for `mlflow server` works unchanged. Except where it says
*refused*, using one prints a line on stderr and changes nothing.
"""


def settings_page() -> str:
    """docs/reference/settings.md."""
    parts = [INTRODUCTION]
    for topic in dict.fromkeys(setting.topic for setting in SETTINGS):
        parts.append(f"## {topic}\n")
        if topic == ACCEPTED:
            parts.append(ACCEPTED_INTRODUCTION)
        parts += [_entry(setting) for setting in SETTINGS if setting.topic == topic]
    return "\n".join(parts)


def _entry(setting: Setting) -> str:
    names = [f"`{flag.replace('/', '` / `')}`" for flag in setting.flags]
    names += [f"`{name}`" for name in setting.env]
    kind = "" if setting.kind.is_switch else f" · {setting.kind.metavar.replace('|', ' or ')}"
    default = setting.default_text or f"`{shown(setting.default)}`"
    lines = [f"### {setting.name}", "", f"{', '.join(names)}{kind} · default: {default}", ""]
    lines.append(setting.help)
    if setting.note:
        lines += ["", f"No effect: {setting.note}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    here = Path(__file__).parent / "reference"
    here.mkdir(exist_ok=True)
    (here / "settings.md").write_text(settings_page())
