"""Turns filter text into tokens, by the rules of the SQL tokenizer that MLflow uses.

At each position the first matching rule applies. Reserved words are in keywords.py; grouping.py
combines tokens.
"""

from __future__ import annotations

import re
from enum import IntEnum, auto
from typing import TYPE_CHECKING, Final

from headrace.contract.limits import MAX_FILTER_CHARACTERS, MAX_FILTER_LISTS, MAX_FILTER_TOKENS
from headrace.search.keywords import KEYWORDS, TYPE_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(IntEnum):
    """The kinds of tokens, then the kinds of groups that grouping.py builds."""

    NAME = auto()
    STRING = auto()  # 'single quoted'
    SYMBOL = auto()  # "double quoted"
    INTEGER = auto()
    FLOAT = auto()
    HEX = auto()
    KEYWORD = auto()
    DIRECTION = auto()  # ASC, DESC, with NULLS FIRST or LAST
    TYPE_NAME = auto()
    COMPARATOR = auto()
    OPERATOR = auto()
    WILDCARD = auto()
    PUNCTUATION = auto()
    PLACEHOLDER = auto()
    ASSIGNMENT = auto()
    COMMENT = auto()
    OTHER = auto()
    PARENTHESIS = auto()
    BRACKETS = auto()
    FUNCTION = auto()
    IDENTIFIER = auto()
    TYPED_LITERAL = auto()
    OPERATION = auto()
    COMPARISON = auto()
    LIST = auto()
    CLAUSE = auto()


class Node:
    """A token or a group: its kind, its span in `source`, its parts without white space."""

    __slots__ = ("end", "kind", "parts", "source", "start")

    def __init__(
        self, kind: Kind, source: str, start: int, end: int, parts: tuple[Node, ...] = ()
    ) -> None:
        self.kind = kind
        self.source = source
        self.start = start
        self.end = end
        self.parts = parts

    @property
    def text(self) -> str:
        """The source text of the node, including its white space."""
        return self.source[self.start : self.end]

    def is_keyword(self, word: str) -> bool:
        """Whether the node is this keyword (given in upper case), in any case."""
        return self.kind is Kind.KEYWORD and self.text.upper() == word

    def __repr__(self) -> str:
        return f"{self.kind.name}({self.text!r})"


class TooLong(ValueError):
    """The text has more characters or tokens than limits.py allows; the message says which."""


_SPACE: Final = "space"
_WORD: Final = "word"
_LETTER: Final = "[A-ZÀ-Ü]"
ALWAYS_RESERVED: Final = ("CASE", "IN", "VALUES", "USING", "FROM", "AS")

_PLAIN_STRING: Final = r"""(?:'[^'\\\n\r]*'|"[^"\\\n\r]*")"""
# The contents need no further parsing: no escapes, no line ends, no adjacent strings. The list is
# one token, so that ten thousand run ids cost as much as one, and its characters do not count
# towards the limit.
PLAIN_LIST: Final = rf"\(\s*+{_PLAIN_STRING}(?:\s*+,\s*+{_PLAIN_STRING})*+\s*+(?:,\s*+)?\)"

_LIST_ITEMS: Final = re.compile(rf"\((?:\s*+{_PLAIN_STRING}\s*+,?)*+\s*+")
_BLOCK_COMMENT: Final = (Kind.COMMENT, r"/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/|\Z)")


def _quoted(quote: str) -> str:
    """A name between two of `quote`. A doubled quote belongs to the name, unless the name is not closed."""
    return f"{quote}[^{quote}]*+(?:{quote}{quote}[^{quote}]*+)*{quote}"


def _escaped(quote: str) -> str:
    r"""The same for strings, in which \ escapes a quote."""
    run = rf"[^{quote}\\]*+"
    return rf"{quote}{run}(?:(?:{quote}{quote}|\\{quote}|\\){run})*{quote}"


# Each rule takes linear time, whether it matches or not, and no later position reads the same text
# again: clients choose the text. fmt: off
_RULES: Final[tuple[tuple[Kind | str, str], ...]] = (
    (Kind.COMMENT, r"(?:--|\#\ ).*?(?:\r\n|\r|\n|$)"),
    _BLOCK_COMMENT,
    (_SPACE, r"\s+"),
    (Kind.ASSIGNMENT, r":="),
    (Kind.PUNCTUATION, r"::"),
    (Kind.WILDCARD, r"\*"),
    (Kind.NAME, rf"{_quoted('`')}|{_quoted(chr(0xB4))}"),
    (Kind.PLACEHOLDER, r"\?|%(?:\(\w++\))?s|(?<!\w)[$:?]\w+"),
    (Kind.OTHER, r"\\\w+"),
    (Kind.KEYWORD, rf"(?:{'|'.join(ALWAYS_RESERVED)})\b"),
    (Kind.NAME, rf"(?:@|\#\#|\#){_LETTER}\w+"),
    # Next to a dot, and before a parenthesis, any other word is a plain name.
    (Kind.NAME, rf"{_LETTER}\w*+(?:(?=\s*\.(?!\d))|(?=\())|(?<=\.){_LETTER}\w*"),
    (Kind.HEX, r"-?0x[\dA-F]+"),
    (Kind.FLOAT, r"-?\d+(?:\.\d+)?E-?\d+"),
    (Kind.FLOAT, rf"-?(?:\d+\.\d*|\.\d+)(?!_|{_LETTER})"),
    (Kind.INTEGER, rf"-?\d+(?!_|{_LETTER})"),
    (Kind.STRING, _escaped("'")),
    (Kind.SYMBOL, _escaped('"')),
    (Kind.NAME, r"(?<![\w\])])\[[^\]\[]++\]"),
    (Kind.KEYWORD, r"(?:NOT\s+NULL|UNION\s+ALL|(?:GROUP|ORDER)\s+BY|PRIMARY\s+KEY)\b"),
    (Kind.DIRECTION, r"(?:ASC|DESC)(?:\s+NULLS\s+(?:FIRST|LAST))?\b|NULLS\s+(?:FIRST|LAST)\b"),
    (Kind.COMPARATOR, r"(?:NOT\s+)?(?:I?LIKE|RLIKE|REGEXP(?:\s+BINARY)?)\b"),
    (_WORD, r"\w[$\#\w]*"),
    (Kind.PARENTHESIS, PLAIN_LIST),
    (Kind.PUNCTUATION, r"[;:()\[\],.]"),
    (Kind.OPERATOR, r"->>?|\#>>?|@>|<@|\?&|-|\#-"),
    (Kind.COMPARATOR, r"[<>=~!]+"),
    (Kind.OPERATOR, r"[+/@\#%^&|]+"),
    (Kind.OTHER, r"[\s\S]"),
)
# fmt: on


def _compiled(rules: Sequence[tuple[Kind | str, str]]) -> re.Pattern[str]:
    return re.compile("|".join(f"({pattern})" for _, pattern in rules), re.IGNORECASE)


_TOKEN: Final = _compiled(_RULES)
# The rules after an unclosed comment, which has been read to the end once.
_NO_COMMENT: Final = _compiled(
    [rule if rule is not _BLOCK_COMMENT else (Kind.COMMENT, "(?!)") for rule in _RULES]
)


def tokens(source: str) -> list[Node]:
    """The tokens of `source` without white space; unmatched characters become OTHER. Raises TooLong."""
    _check_length(source)
    found: list[Node] = []
    unclosed = _take(_TOKEN, source, 0, found)
    if unclosed is not None:
        _take(_NO_COMMENT, source, unclosed, found)
    return found


def _take(pattern: re.Pattern[str], source: str, start: int, found: list[Node]) -> int | None:
    """Adds the tokens from `start` on to `found`, up to an unclosed comment; returns its position."""
    for match in pattern.finditer(source, start):
        kind = _RULES[(match.lastindex or 1) - 1][0]
        if kind == _SPACE:
            continue
        if kind == _WORD:
            kind = _word_kind(match.group().lower())
        assert isinstance(kind, Kind)
        if kind is Kind.COMMENT and _is_unclosed(match.group()):
            return match.start()
        found.append(Node(kind, source, match.start(), match.end()))
        if len(found) > MAX_FILTER_TOKENS:
            raise TooLong(f"more than {MAX_FILTER_TOKENS} tokens")
    return None


def _is_unclosed(comment: str) -> bool:
    return comment.startswith("/*") and not (comment.endswith("*/") and len(comment) >= 4)


def _check_length(source: str) -> None:
    """Raises TooLong for a text that is too long, with or without its plain lists. Takes linear time."""
    length, place, tries = len(source), 0, 0
    if length > MAX_FILTER_LISTS:
        raise TooLong(f"more than {MAX_FILTER_LISTS} characters")
    while length > MAX_FILTER_CHARACTERS:
        place = source.find("(", place)
        tries += 1
        if place < 0 or tries > MAX_FILTER_TOKENS:
            raise TooLong(f"more than {MAX_FILTER_CHARACTERS} characters")
        items = _LIST_ITEMS.match(source, place)
        assert items is not None, "it matches a bracket"
        if source.startswith(")", items.end()):
            length -= items.end() + 1 - place
        place = items.end()


def _word_kind(word: str) -> Kind:
    if word in KEYWORDS:
        return Kind.KEYWORD
    if word in TYPE_NAMES:
        return Kind.TYPE_NAME
    return Kind.OPERATOR if word == "div" else Kind.NAME
