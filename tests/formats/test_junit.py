"""JUnit XML against what its schemas ask for, and against the report."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from xml.etree import ElementTree as ET

import graphengine as ge
from graphengine.check import ClaimResult, Entry, Mistake, Report
from graphengine.formats.junit import junit, junit_of_error

WHEN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)

REQUIRED = {
    "testsuite": {
        *("name", "timestamp", "hostname", "tests", "failures", "errors", "time"),
        *("package", "id"),
    },
    "testcase": {"name", "classname", "time"},
    "property": {"name", "value"},
    "failure": {"type"},
    "error": {"type"},
}
OPTIONAL = {"testsuite": {"skipped"}, "failure": {"message"}, "error": {"message"}}
CHILDREN = {
    "testsuites": r"(testsuite )*",
    "testsuite": r"properties (testcase )*system-out system-err ",
    "properties": r"(property )*",
    "testcase": r"(skipped |error |failure )?",
}
TYPES = {
    "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    **dict.fromkeys(("tests", "failures", "errors", "skipped", "id"), r"-?\d+"),
    "time": r"-?\d+(\.\d+)?",
    "hostname": r"(?s).+",
}
TOKENS = {("testsuite", "name"), ("testcase", "name"), ("testcase", "classname")}


def valid(text: str) -> ET.Element:
    """The suite, once it is what Apache Ant's JUnit.xsd (Windy Road) and Jenkins' ask for."""
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    root = ET.fromstring(text.encode("utf-8"))
    assert root.tag == "testsuites"
    for element in root.iter():
        tag = element.tag
        required, optional = REQUIRED.get(tag, set()), OPTIONAL.get(tag, set())
        assert required <= set(element.attrib) <= required | optional, tag
        children = "".join(f"{child.tag} " for child in element)
        assert re.fullmatch(CHILDREN.get(tag, ""), children), (tag, children)
        for name, value in element.attrib.items():
            assert re.fullmatch(TYPES.get(name, r"(?s).*"), value), (name, value)
            if (tag, name) in TOKENS:
                assert value
                assert value == " ".join(value.split())
        if tag not in {"failure", "error", "system-out", "system-err"}:
            assert not (element.text or "").strip()
    (suite,) = root
    cases = suite.findall("testcase")
    assert int(suite.attrib["tests"]) == len(cases)
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
    assert int(suite.attrib["errors"]) == len(suite.findall("testcase/error"))
    assert Decimal(suite.attrib["time"]) >= 0
    return suite


def a_report() -> Report:
    sign = Mistake("sign", "J<-s", "the sign of <g> & 'more'\x00\x1b[31m")
    return Report(
        'a "spec" <of>\tmine',
        (
            ClaimResult("J/b", "right", 1e-16, 5),
            ClaimResult(
                "J/W", "wrong", 2.0, 5, Entry((0, 2), 1.5, 0.75), (sign,), place="a.yaml:3:5"
            ),
            ClaimResult("J/x", "wrong", 1.0, 5, given=("J/W",), carried=True, says="follows"),
            ClaimResult("J/s", "undecided", says="a kink"),
            ClaimResult("J/z", "error", says="no value ]]> here"),
        ),
        seed=None,
    )


def test_all_verdicts() -> None:
    suite = valid(junit(a_report(), seconds=1.23456, when=WHEN))
    assert suite.attrib["timestamp"] == "2026-01-02T03:04:05"
    assert (suite.attrib["time"], suite.attrib["name"]) == ("1.235", 'a "spec" <of> mine')
    cases = {case.attrib["name"]: list(case) for case in suite.findall("testcase")}
    assert cases["J/b"] == []
    (wrong,), (carried,), (kink,), (error,) = (cases[k] for k in ("J/W", "J/x", "J/s", "J/z"))
    assert (wrong.tag, wrong.get("type")) == ("failure", "sign")
    assert wrong.get("message") == "wrong: the sign of <g> & 'more'\ufffd\ufffd[31m"
    assert (wrong.text or "").endswith("\na.yaml:3:5")
    assert (carried.get("type"), carried.get("message")) == (
        "carried",
        "right given J/W (carried): follows",
    )
    assert (kink.tag, kink.get("type"), error.tag) == ("failure", "undecided", "error")
    assert error.text == "J/z: error\nno value ]]> here"


def test_of_a_check() -> None:
    g = ge.Graph("square")
    x = g.input("x", (3,))
    g.result("J", ge.sum(x**2))
    suite = valid(junit(ge.check(g, {"J/x": "-2 * x"})))
    properties = {one.attrib["name"]: one.attrib["value"] for one in suite.iter("property")}
    assert properties["verdict"] == "wrong"
    assert properties["seed"] == "0"
    assert "J/x" in (suite.findtext("system-out") or "")
    assert valid(junit(ge.check(g, {"J/x": "2 * x"}))).attrib["failures"] == "0"


def test_without_claims_and_without_a_name() -> None:
    suite = valid(junit(Report("", ())))
    assert suite.attrib["name"] == "graphengine"


def test_of_a_check_that_could_not_be_made() -> None:
    suite = valid(junit_of_error("", "a.yaml:1:1: expected <YAML>, got '\x07'", when=WHEN))
    assert suite.findtext("testcase/error") == "a.yaml:1:1: expected <YAML>, got '\ufffd'"
