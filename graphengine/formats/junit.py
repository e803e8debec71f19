"""JUnit XML of a report: a test case for each claim.

The document satisfies the schemas in use (Apache Ant's, as written down by Windy Road, and that
of Jenkins' xUnit plugin), which differ in what they require.
"""

from __future__ import annotations

import datetime
from xml.etree import ElementTree as ET

from graphengine.check.report import ClaimResult, Report
from graphengine.formats.output import legal

__all__ = ["junit", "junit_of_error"]


def junit(report: Report, *, seconds: float = 0.0, when: datetime.datetime | None = None) -> str:
    """The report as JUnit XML.

    A claim that is right passes; one that is wrong or undecided has a ``failure`` with the
    explanation, one without a value an ``error``.  ``seconds`` is the time that the check took,
    ``when`` its start (now, where it is not given).

    >>> report = Report("demo", (ClaimResult("J/x", "right"), ClaimResult("J/y", "wrong")))
    >>> root = ET.fromstring(junit(report).partition("?>")[2])
    >>> root[0].get("tests"), root[0].get("failures")
    ('2', '1')
    """
    errors = sum(claim.verdict == "error" for claim in report.claims)
    failures = sum(claim.verdict in {"wrong", "undecided"} for claim in report.claims)
    name = report.spec or "graphengine"
    suite = _suite(name, len(report.claims), failures, errors, seconds, when)
    properties = ET.SubElement(suite, "properties")
    for key, value in _properties(report):
        ET.SubElement(properties, "property", name=key, value=legal(value))
    for claim in report.claims:
        _case(suite, name, claim)
    ET.SubElement(suite, "system-out").text = legal(str(report))
    ET.SubElement(suite, "system-err")
    return _document(suite)


def junit_of_error(name: str, error: str, *, when: datetime.datetime | None = None) -> str:
    """The same for a check that could not be made: one test case with the error."""
    suite = _suite(name or "graphengine", 1, 0, 1, 0.0, when)
    ET.SubElement(suite, "properties")
    case = ET.SubElement(
        suite, "testcase", name="check", classname=_token(name or "graphengine"), time="0.000"
    )
    ET.SubElement(case, "error", message=legal(error), type="error").text = legal(error)
    ET.SubElement(suite, "system-out")
    ET.SubElement(suite, "system-err")
    return _document(suite)


def _suite(
    name: str,
    tests: int,
    failures: int,
    errors: int,
    seconds: float,
    when: datetime.datetime | None,
) -> ET.Element:
    started = when or datetime.datetime.now(datetime.UTC)
    return ET.Element(
        "testsuite",
        name=_token(name),
        package="graphengine",
        id="0",
        hostname="localhost",
        timestamp=started.strftime("%Y-%m-%dT%H:%M:%S"),  # the schema allows no time zone
        tests=str(tests),
        failures=str(failures),
        errors=str(errors),
        skipped="0",
        time=f"{seconds:.3f}",
    )


def _properties(report: Report) -> list[tuple[str, str]]:
    found = [
        ("verdict", report.verdict if report.claims else ""),
        ("first", report.first),
        ("points", str(len(report.points))),
        ("seed", "" if report.seed is None else str(report.seed)),
        ("tolerance", f"{report.tolerance:g}"),
        ("reference", report.reference),
        ("coverage", str(report.coverage) if report.coverage.total else ""),
    ]
    return [(key, value) for key, value in found if value]


def _case(suite: ET.Element, name: str, claim: ClaimResult) -> None:
    case = ET.SubElement(
        suite, "testcase", name=_token(claim.claim), classname=_token(name), time="0.000"
    )
    if claim.verdict == "right":
        return
    tag = "error" if claim.verdict == "error" else "failure"
    kind = claim.mistakes[0].kind if claim.mistakes else claim.verdict
    what = claim.what
    lines = [f"{claim.claim}: {claim.standing}", what, claim.place]
    made = ET.SubElement(
        case,
        tag,
        message=legal(f"{claim.standing}: {what}" if what else claim.standing),
        type="carried" if claim.carried else kind,
    )
    made.text = legal("\n".join(line for line in lines if line))


def _token(text: str) -> str:
    """Text as ``xs:token`` has it: single spaces, none at the ends."""
    return " ".join(legal(text).split()) or "graphengine"


def _document(suite: ET.Element) -> str:
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"
