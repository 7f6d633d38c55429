"""Groups tokens: brackets, dotted names, comparisons, and the unusual shapes that are rejected.

The passes run in a fixed order, each on the result of the previous one, as in sqlparse. The order
determines the error message for a malformed filter, which clients match on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headrace.search.lexer import Kind, Node, tokens

Test = Callable[[Node], bool]
Nodes = list[Node]

_VALUES: Final = frozenset(
    (Kind.INTEGER, Kind.FLOAT, Kind.STRING, Kind.SYMBOL, Kind.NAME, Kind.PLACEHOLDER)
)
_OPERANDS: Final = _VALUES | {
    Kind.PARENTHESIS,
    Kind.FUNCTION,
    Kind.IDENTIFIER,
    Kind.OPERATION,
    Kind.TYPED_LITERAL,
}
_ALIASABLE: Final = frozenset(
    (
        Kind.PARENTHESIS,
        Kind.FUNCTION,
        Kind.IDENTIFIER,
        Kind.OPERATION,
        Kind.COMPARISON,
        Kind.INTEGER,
        Kind.FLOAT,
        Kind.HEX,
    )
)
_LISTABLE: Final = _VALUES | {
    Kind.FUNCTION,
    Kind.IDENTIFIER,
    Kind.COMPARISON,
    Kind.LIST,
    Kind.OPERATION,
    Kind.KEYWORD,
    Kind.WILDCARD,
}
_AFTER_DOT: Final = frozenset(
    (Kind.BRACKETS, Kind.FUNCTION, Kind.NAME, Kind.SYMBOL, Kind.WILDCARD, Kind.STRING)
)
_BEFORE_DOT: Final = frozenset((Kind.BRACKETS, Kind.IDENTIFIER, Kind.NAME, Kind.SYMBOL))
_AFTER_WHERE: Final = frozenset(
    ("ORDER BY", "GROUP BY", "LIMIT", "UNION", "UNION ALL", "EXCEPT", "INTERSECT", "HAVING")
)


def statements(source: str) -> list[Nodes]:
    """The statements of `source`, split at semicolons outside of parentheses, each grouped."""
    found: list[Nodes] = []
    current: Nodes = []
    depth = 0
    for token in tokens(source):
        current.append(token)
        if token.kind is not Kind.PUNCTUATION:
            continue
        text = token.text
        if text == "(":
            depth += 1
        elif text == ")":
            depth -= 1
        elif text == ";" and depth <= 0:
            found.append(current)
            current, depth = [], 0
    if current:
        found.append(current)
    return [group(nodes) for nodes in found]


def group(nodes: Nodes) -> Nodes:
    """The top-level nodes of one statement."""
    kinds = {node.kind for node in nodes}
    if Kind.PUNCTUATION in kinds or Kind.OPERATOR in kinds:
        nodes = _bracketed(nodes, "[", "]", Kind.BRACKETS)
        nodes = _bracketed(nodes, "(", ")", Kind.PARENTHESIS)
        nodes = _followed(
            nodes, _is(Kind.NAME, Kind.TYPE_NAME), _is(Kind.PARENTHESIS), Kind.FUNCTION
        )
        nodes = _where(nodes)
        nodes = _dotted(nodes)
        nodes = _followed(
            nodes, _is(*_BEFORE_DOT, Kind.FUNCTION), _is(Kind.BRACKETS), Kind.IDENTIFIER
        )
    else:
        nodes = _where(nodes)
    nodes = [_as_identifier(node) for node in nodes]
    if Kind.DIRECTION in kinds:
        numbers_too = _is(Kind.IDENTIFIER, Kind.INTEGER, Kind.FLOAT, Kind.HEX)
        nodes = _followed(nodes, numbers_too, _is(Kind.DIRECTION), Kind.IDENTIFIER)
    nodes = _infix(nodes, _is_text("::"), _anything, Kind.IDENTIFIER)
    if Kind.TYPE_NAME in kinds:
        # The first of all is not looked at: a typed literal is a value, behind something else.
        typed = _followed(nodes[1:], _is(Kind.TYPE_NAME), _is(Kind.STRING), Kind.TYPED_LITERAL)
        nodes = nodes[:1] + typed
    if Kind.OPERATOR in kinds or Kind.WILDCARD in kinds:
        operand = _is(*_OPERANDS, Kind.BRACKETS)
        nodes = _infix(nodes, _is(Kind.OPERATOR, Kind.WILDCARD), operand, Kind.OPERATION)
    nodes = _infix(nodes, _is(Kind.COMPARATOR), _is_operand, Kind.COMPARISON)
    nodes = _aliased(nodes)
    nodes = _infix(nodes, _is(Kind.ASSIGNMENT), _is_no_keyword, Kind.CLAUSE)
    if Kind.COMMENT in kinds:
        nodes = _comments(nodes)
    return _infix(nodes, _is_text(","), _is(*_LISTABLE), Kind.LIST)


def _is(*kinds: Kind) -> Test:
    wanted = frozenset(kinds)
    return lambda node: node.kind in wanted


def _is_text(text: str) -> Test:
    return lambda node: node.kind is Kind.PUNCTUATION and node.text == text


def _anything(node: Node) -> bool:
    return True


def _is_no_keyword(node: Node) -> bool:
    return node.kind is not Kind.KEYWORD


def _is_operand(node: Node) -> bool:
    return node.kind in _OPERANDS or node.is_keyword("NULL")


def _join(kind: Kind, *parts: Node) -> Node:
    return Node(kind, parts[0].source, parts[0].start, parts[-1].end, parts)


def _as_identifier(node: Node) -> Node:
    return _join(Kind.IDENTIFIER, node) if node.kind in (Kind.NAME, Kind.SYMBOL) else node


def _bracketed(nodes: Nodes, opening: str, closing: str, kind: Kind) -> Nodes:
    """Matched pairs become one node; an unmatched bracket stays a token."""
    done: Nodes = []
    opened: list[int] = []
    for node in nodes:
        done.append(node)
        if node.kind is not Kind.PUNCTUATION:
            continue
        text = node.text
        if text == opening:
            opened.append(len(done) - 1)
        elif text == closing and opened:
            start = opened.pop()
            done[start:] = [_join(kind, done[start], node)]
    return done


def _followed(
    nodes: Nodes, first: Test, second: Test, kind: Kind, *, in_pairs: bool = False
) -> Nodes:
    """`first second` becomes one node, which may be the first of another pair, except `in_pairs`."""
    done: Nodes = []
    is_closed = False
    for node in nodes:
        if done and not is_closed and second(node) and first(done[-1]):
            node = _join(kind, done.pop(), node)
            is_closed = in_pairs
        else:
            is_closed = False
        done.append(node)
    return done


def _infix(
    nodes: Nodes, operator: Test, operand: Test, kind: Kind, right: Test | None = None
) -> Nodes:
    """`operand operator right` becomes one node, from left to right, also for `a = b = c`.

    Without `right` both sides are an `operand`.
    """
    right = right or operand
    if not any(map(operator, nodes)):
        return nodes
    done: Nodes = []
    before: Node | None = None
    position = 0
    while position < len(nodes):
        node = last = nodes[position]
        after = nodes[position + 1] if position + 1 < len(nodes) else None
        if after and before and operator(node) and operand(before) and right(after):
            node, last = _join(kind, done.pop(), node, after), after
            position += 1
        done.append(node)
        before = last
        position += 1
    return done


def _dotted(nodes: Nodes) -> Nodes:
    """`a.b.c` becomes one identifier; a trailing dot belongs to the name too."""
    done: Nodes = []
    position = 0
    while position < len(nodes):
        node = nodes[position]
        is_dot = node.kind is Kind.PUNCTUATION and node.text == "."
        if (is_dot or node.text in ("->", "->>")) and done and done[-1].kind in _BEFORE_DOT:
            parts = [done.pop(), node]
            if position + 1 < len(nodes) and nodes[position + 1].kind in _AFTER_DOT:
                position += 1
                parts.append(nodes[position])
            node = _join(Kind.IDENTIFIER, *parts)
        done.append(node)
        position += 1
    return done


def _where(nodes: Nodes) -> Nodes:
    """WHERE and everything up to the next clause keyword becomes one clause."""
    done: Nodes = []
    inside = False
    for node in nodes:
        if inside and node.kind is Kind.KEYWORD and node.text.upper() in _AFTER_WHERE:
            inside = False
        if inside:
            node = _join(Kind.CLAUSE, done.pop(), node)
        elif node.is_keyword("WHERE"):
            inside = True
        done.append(node)
    return done


def _aliased(nodes: Nodes) -> Nodes:
    """`x AS y` and `x y` become one identifier."""
    named = _infix(
        nodes, lambda node: node.is_keyword("AS"), _is_no_keyword, Kind.IDENTIFIER, _anything
    )
    return _followed(named, _is(*_ALIASABLE), _is(Kind.IDENTIFIER), Kind.IDENTIFIER, in_pairs=True)


def _comments(nodes: Nodes) -> Nodes:
    """A comment belongs to the group before it, unless nothing follows it."""
    done: Nodes = []
    end = len(nodes)
    while end and nodes[end - 1].kind is Kind.COMMENT:
        end -= 1
    for position, node in enumerate(nodes):
        if node.kind is Kind.COMMENT and position < end and done and done[-1].parts:
            before = done.pop()
            node = _join(before.kind, *before.parts, node)
            node.start = before.start
        done.append(node)
    return done
