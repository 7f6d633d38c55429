"""Filter text to tokens, by the rules of the SQL tokenizer that MLflow's clients rely on.

The rules are tried in order at each position and the first that matches wins. Reserved words are in
keywords.py; what tokens form together is in grouping.py.
"""

from __future__ import annotations

import re
from enum import IntEnum, auto
from typing import Final

from headrace.limits import MAX_FILTER_TOKENS
from headrace.search.keywords import KEYWORDS, TYPE_NAMES


class Kind(IntEnum):
    """Tokens first, then the groups that grouping.py builds of them."""

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
    """A token or a group of them: its kind, its span in `source`, its parts without white space."""

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
        """The source text of the node, white space inside it included."""
        return self.source[self.start : self.end]

    def is_keyword(self, word: str) -> bool:
        """Whether the node is this keyword (given in upper case), in any case."""
        return self.kind is Kind.KEYWORD and self.text.upper() == word

    def __repr__(self) -> str:
        return f"{self.kind.name}({self.text!r})"


class TooManyTokens(ValueError):
    """A text of more than MAX_FILTER_TOKENS tokens."""


_SPACE: Final = "space"
_WORD: Final = "word"
_LETTER: Final = "[A-ZÀ-Ü]"
ALWAYS_RESERVED: Final = ("CASE", "IN", "VALUES", "USING", "FROM", "AS")

_PLAIN_STRING: Final = r"""(?:'[^'\\\n\r]*'|"[^"\\\n\r]*")"""
# Nothing inside has to be looked at: no escapes, no line ends, no strings that touch. One token, so
# that the ids of ten thousand runs cost as much as one.
PLAIN_LIST: Final = rf"\(\s*+{_PLAIN_STRING}(?:\s*+,\s*+{_PLAIN_STRING})*+\s*+(?:,\s*+)?\)"

# fmt: off
_RULES: Final[tuple[tuple[Kind | str, str], ...]] = (
    (Kind.COMMENT, r"(?:--|\#\ ).*?(?:\r\n|\r|\n|$)"),
    (Kind.COMMENT, r"/\*[\s\S]*?\*/"),
    (_SPACE, r"\s+"),
    (Kind.ASSIGNMENT, r":="),
    (Kind.PUNCTUATION, r"::"),
    (Kind.WILDCARD, r"\*"),
    (Kind.NAME, r"`(?:``|[^`])*`|\u00b4(?:\u00b4\u00b4|[^\u00b4])*\u00b4"),
    (Kind.PLACEHOLDER, r"\?|%(?:\(\w+\))?s|(?<!\w)[$:?]\w+"),
    (Kind.OTHER, r"\\\w+"),
    (Kind.KEYWORD, rf"(?:{'|'.join(ALWAYS_RESERVED)})\b"),
    (Kind.NAME, rf"(?:@|\#\#|\#){_LETTER}\w+"),
    # Before or after a dot, and before a parenthesis, any other word is a plain name.
    (Kind.NAME, rf"{_LETTER}\w*+(?:(?=\s*\.(?!\d))|(?=\())|(?<=\.){_LETTER}\w*"),
    (Kind.HEX, r"-?0x[\dA-F]+"),
    (Kind.FLOAT, r"-?\d+(?:\.\d+)?E-?\d+"),
    (Kind.FLOAT, rf"-?(?:\d+\.\d*|\.\d+)(?!_|{_LETTER})"),
    (Kind.INTEGER, rf"-?\d+(?!_|{_LETTER})"),
    (Kind.STRING, r"'(?:''|\\'|[^'])*'"),
    (Kind.SYMBOL, r'"(?:""|\\"|[^"])*"'),
    (Kind.NAME, r"(?<![\w\])])\[[^\]\[]+\]"),
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
_TOKEN: Final = re.compile("|".join(f"({pattern})" for _, pattern in _RULES), re.IGNORECASE)


def tokens(source: str) -> list[Node]:
    """The tokens of `source` without white space; what fits no rule is an OTHER."""
    found: list[Node] = []
    for match in _TOKEN.finditer(source):
        kind = _RULES[(match.lastindex or 1) - 1][0]
        if kind == _SPACE:
            continue
        if kind == _WORD:
            kind = _word_kind(match.group().lower())
        assert isinstance(kind, Kind)
        found.append(Node(kind, source, match.start(), match.end()))
        if len(found) > MAX_FILTER_TOKENS:
            raise TooManyTokens(f"more than {MAX_FILTER_TOKENS} tokens")
    return found


def _word_kind(word: str) -> Kind:
    if word in KEYWORDS:
        return Kind.KEYWORD
    if word in TYPE_NAMES:
        return Kind.TYPE_NAME
    return Kind.OPERATOR if word == "div" else Kind.NAME
