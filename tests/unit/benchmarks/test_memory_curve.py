"""The curve in docs/endurance.md is that of the samples beside it."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.faults.memory_curve import DOCUMENT, Curve, read, svg, with_table

FOUND = DOCUMENT.parent / "endurance"


def test_the_document_shows_the_samples_that_lie_beside_it() -> None:
    curves = read(FOUND)
    assert [curve.database for curve in curves] == ["sqlite", "postgres"]
    assert (FOUND / "memory.svg").read_text() == svg(curves)
    document = DOCUMENT.read_text()
    assert with_table(document, curves) == document


def test_a_level_is_the_median_of_its_part_of_the_time() -> None:
    curve = Curve("sqlite", 1, 0, 0.5, [1024] * 10 + [2048] * 9 + [9999])
    assert curve.seconds == 9.5
    assert curve.level_mib(0, 0.5) == 1
    assert curve.level_mib(0.5, 1) == 2


def test_a_curve_of_few_samples_is_drawn_whole() -> None:
    drawing = ElementTree.fromstring(svg([Curve("sqlite", 1, 0, 0.5, [1024, 2048, 1024])]))
    lines = [node.attrib["points"] for node in drawing if node.tag.endswith("polyline")]
    assert [len(line.split()) for line in lines] == [3]
