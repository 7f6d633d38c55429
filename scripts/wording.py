"""Find words and constructions that plain English does without: `python scripts/wording.py`.

Reads documents, docstrings, comments, and the messages in the source. Prints each place with a better
wording, and exits with code 1 if there is one. The rule is in CONTRIBUTING.md; this list has only
constructions that are always wrong here, so it is no substitute for reading.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDERS: Final = ("src", "tests", "benchmarks", "scripts", "docs", "deploy")
MESSAGES: Final = "src"  # texts in the code of other folders are data of tests
GENERATED: Final = ("benchmarks/results/",)
THIS: Final = ("scripts/wording.py", "tests/repo/test_wording.py")  # which quote the constructions
RULES: Final = (
    (r"(?:^|(?<=[.!?] ))(?:What|Who|Whoever|Whatever)\b[^.?!]*(?:[.!]|$)",
     "begin with a noun: 'The fields that …', 'A user who …'"),
    (r"; (?:what|who|whoever)\b", "begin the clause with a noun"),
    (r"\btold\b", "say which message is sent: gets, learns, reports"),
    (r"\b(?:go|goes|went) on\b", "continue"),
    (r"\b(?:by|in) turns\b", "alternately"),
    (r"\ball the same\b", "nevertheless"),
    (r"\b(?:become|becomes|became) of\b", "the result of"),
    (r"\b(?:stands? there|as it were|so to speak)\b", "leave it out"),
    (r"\b(?:of course|obviously|needless to say|please note)\b", "leave it out"),
    (r"\b(?:utili[sz]e\w*|leverag\w+|seamless\w*|blazing\w*|cutting-edge)\b", "use, or a figure"),
    (r"\bin order to\b", "to"),
    (r"\b(?:heed\w*|farewell|patience)\b", "follow, respect; message; limit"),
    (r"\b(?:nobody|no one) is left\b", "no process (client, user) … any more"),
    (r"\b(?:which|that) (?:is|are) there\b", "exist, existing"),
    (r"\bcomes? again\b", "retry"),
    (r"\bthe sooner\b", "early"),
    (r"\bin the making\b", "in progress"),
    (r"\blets? (?:it |them )?go\b", "release, free"),
    (r"\bfor good\b", "permanently"),
    (r"\b(?:to the letter|word for word)\b", "exactly"),
    (r"\b(?:in|at) one go\b", "in one step"),
    (r"\bwhose choice\b", "who chose"),
    (r"(?<!to )\bspeaks?\b", "has, serves, supports (a protocol)"),
    (r"\b(?:dies|believes?)\b", "ends, fails; accepts"),
    (r"\bpays? (?:for|in)\b", "needs, takes, makes slower"),
    (r"\b(?:at|on) hand\b", "available, reached"),
    (r"\bnobody (?:waits|knows|keeps|can|uses)\b", "name the process, request or user"),
    (r"\bwhat (?:is|are|was) left\b", "the rest"),
    (r"\bheadrace\[(?:mlflow|oidc|webhooks)", "name the extra alone: nothing is published"),
)  # fmt: skip
# Names that need their docstring to be understood.
NAMES: Final = re.compile(
    r"\b(?:class|def) (_?(?:Pulse|Board|Tally|Place|Wanted|told|tell|let_go|respond))\b"
)
CODE: Final = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
COMMENTED: Final = (".yaml", ".yml", ".toml", ".conf", ".service", ".timer", ".cfg", "")
# The first rule is about the beginning of a sentence.
_COMPILED: Final = tuple(
    (re.compile(pattern, re.IGNORECASE if number else re.NOFLAG), better)
    for number, (pattern, better) in enumerate(RULES)
)
# A file without a match is not parsed. Only the first rule depends on the case of letters.
_ANY: Final = re.compile(rf"\b(?:What|Who)|(?i:{'|'.join(pattern for pattern, _ in RULES[1:])})")
_BREAK: Final = re.compile(r"\s*\n\s*(?:#\s*)?")


class Found(NamedTuple):
    """A construction in a file; `line` is the first line of its paragraph, docstring or comment."""

    name: str
    line: int
    text: str
    better: str


def files() -> Iterator[Path]:
    """Every file with prose."""
    yield from sorted(ROOT.glob("*.md"))
    yield from (ROOT / name for name in ("Makefile", "pyproject.toml", "zensical.toml", ".ci/run"))
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in (".py", ".md", *COMMENTED):
                yield path


def found_in(name: str, text: str) -> Iterator[Found]:
    """Every construction in a file with this name and text."""
    if name in THIS or name.startswith(GENERATED):
        return
    if name.endswith(".py"):
        for number, line in enumerate(text.splitlines(), 1):
            if match := NAMES.search(line):
                yield Found(name, number, match[1], "a standard name that needs no docstring")
    if not _ANY.search(_BREAK.sub(" ", text)):
        return
    if name.endswith(".py"):
        prose = _of_python(text, with_messages=name.startswith(MESSAGES))
    elif name.endswith(".md"):
        prose = _of_markdown(text)
    else:
        prose = _comments(text)
    for line, paragraph in prose:
        for pattern, better in _COMPILED:
            for match in pattern.finditer(paragraph):
                yield Found(name, line, match[0], better)


def _of_python(text: str, *, with_messages: bool) -> Iterator[tuple[int, str]]:
    tree = ast.parse(text)
    docs = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                docs.add(id(first.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) in docs:
                for paragraph in re.split(r"\n\s*\n", node.value):
                    yield node.lineno, _one_line(paragraph)
            elif with_messages and node.value.count(" ") > 2:
                yield node.lineno, _one_line(node.value)
    yield from _comments_of_python(text)


def _comments_of_python(text: str) -> Iterator[tuple[int, str]]:
    """Comments; those on consecutive lines are one paragraph."""
    first, last, lines = 0, 0, []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        row = token.start[0]
        if lines and (row != last + 1 or not token.line.lstrip().startswith("#")):
            yield first, " ".join(lines)
            lines = []
        first = first if lines else row
        last = row
        lines.append(token.string.lstrip("# ").rstrip())
    if lines:
        yield first, " ".join(lines)


def _of_markdown(text: str) -> Iterator[tuple[int, str]]:
    """Paragraphs, items of lists and rows of tables, without code and headings."""
    blanked = CODE.sub(lambda code: "\n" * code[0].count("\n"), text)
    line = 1
    for block in re.split(r"(\n(?=\s*\n|\s*(?:[-*|]|\d+\.) )|^#.*$)", blanked, flags=re.MULTILINE):
        if not block.startswith(("#", "    ", "\n    ")):
            yield line + block[: len(block) - len(block.lstrip())].count("\n"), _one_line(block)
        line += block.count("\n")


def _comments(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            yield number, line.lstrip("# ")


def _one_line(text: str) -> str:
    """Return prose on one line, without code in backticks, list marks, and marks of emphasis."""
    text = re.sub(r"``.*?``|`[^`]*`", "CODE", text, flags=re.DOTALL)
    return re.sub(r"^(?:[-*|]|\d+\.) ", "", " ".join(text.split())).replace("**", "")


def main() -> int:
    """Print what was found."""
    count = 0
    for path in files():
        for found in found_in(path.relative_to(ROOT).as_posix(), path.read_text()):
            count += 1
            sys.stdout.write(f"{found.name}:{found.line}: {found.text!r}: {found.better}\n")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
