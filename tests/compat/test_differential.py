"""The same requests to stock MLflow and to headrace, side by side: the answers must be equal.

`--subject=stock` plays stock against stock, which shows that the comparison itself is sound.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

import pytest
from tests.compat import dialogues
from tests.compat.dialogue import Dialogue, Player
from tests.compat.normalise import Twins, compared
from tests.compat.overrides import OVERRIDES, RULES

if TYPE_CHECKING:
    from tests.compat.dialogue import Exchange
    from tests.fix_pair import Pair
    from tests.wire import Answer

AREAS = sorted(module.name for module in pkgutil.iter_modules(dialogues.__path__))
DIALOGUES: list[Dialogue] = [
    dialogue
    for area in AREAS
    for dialogue in importlib.import_module(f"tests.compat.dialogues.{area}").DIALOGUES
]

pytestmark = pytest.mark.compat
rules_applied: set[str] = set()


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda d: d.name)
def test_headrace_answers_as_stock_does(pair: Pair, dialogue: Dialogue) -> None:
    if pair.database not in dialogue.databases:
        pytest.skip(f"not played on {pair.database}")
    pair.level()
    twins = Twins(pair.stock_texts, pair.our_texts)
    stock_side = Player(pair.stock, pair.prefix).play(dialogue)
    our_side = Player(pair.ours, pair.prefix).play(dialogue)
    wrong: list[str] = []
    was_refused = False
    for (ask, stock), (_, ours) in zip(stock_side, our_side, strict=True):
        found = compared(stock.answer, ours.answer, twins, ask.unordered)
        key = dialogue.key(ask)
        if pair.subject == "stock":
            complaints = found
        elif ask.shows_run_untouched and was_refused:
            complaints = signs_of_writing(ours.answer)
        else:
            complaints = judged(key, pair.database, stock, ours, found)
        was_refused = bool(found) and ours.answer.status == 400
        if complaints:
            wrong += [key, *(f"    {line[:2000]}" for line in complaints[:12])]
    assert not wrong, "\n" + "\n".join(wrong)


def judged(key: str, database: str, stock: Exchange, ours: Exchange, found: list[str]) -> list[str]:
    """The unintended differences of our answer."""
    override = OVERRIDES.get(key)
    if override and database in override.databases:
        if not found:
            return ["is in overrides.py, but the answers are equal"]
        expected = (override.stock, override.status, (override.code,), override.says)
        return against_intention(stock.answer, ours.answer, *expected)
    rule = next((name for name, rule in RULES.items() if found and rule.applies(stock)), None)
    if rule is None:
        return found
    rules_applied.add(rule)
    status = 404 if ours.answer.status == 404 else 400
    codes = RULES[rule].codes
    complaints = against_intention(
        stock.answer, ours.answer, stock.answer.status, status, codes, says=""
    )
    return [f"rule {rule!r}:", *complaints] if complaints else []


def against_intention(
    stock: Answer,
    ours: Answer,
    stock_status: int | tuple[int, ...],
    status: int,
    codes: tuple[str, ...],
    says: str,
) -> list[str]:
    """The faults of an answer that differs on purpose."""
    wrong = []
    allowed = stock_status if isinstance(stock_status, tuple) else (stock_status,)
    if stock.status not in allowed:
        wrong.append(f"stock should answer {stock_status}, answered {stock}")
    body = ours.json() if ours.is_json else {}
    if ours.status != status:
        wrong.append(f"should answer {status}, answered {ours}; stock {stock}")
    elif status == 200 or codes == ("",):
        return wrong
    elif body.get("error_code") not in codes:
        wrong.append(f"should say {codes}, said {ours}")
    elif says not in body["message"] or not body["message"]:
        wrong.append(f"should say {says!r}, said {ours}")
    return wrong


def signs_of_writing(ours: Answer) -> list[str]:
    """The data of a run that it did not have at its creation."""
    shown = ours.json()["run"]
    info, data = shown["info"], shown["data"]
    untouched = (
        info["status"] == "RUNNING"
        and info["lifecycle_stage"] == "active"
        and "end_time" not in info
        and set(data) <= {"tags"}
        and [tag["key"] for tag in data["tags"]] == ["mlflow.runName"]
        and not shown["inputs"]
        and not shown["outputs"]
    )
    return [] if untouched else [f"a refused request has left something behind: {ours}"]


def test_every_rule_applies_somewhere(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--subject") == "stock" or len(rules_applied) == 0:
        pytest.skip("nothing was compared with headrace in this run")
    assert rules_applied == set(RULES)


def test_every_override_names_a_request_that_is_sent() -> None:
    sent = {dialogue.key(ask) for dialogue in DIALOGUES for ask in dialogue.asks}
    assert set(OVERRIDES) <= sent


def test_dialogues_have_names_of_their_own() -> None:
    names = [dialogue.name for dialogue in DIALOGUES]
    assert len(names) == len(set(names))
