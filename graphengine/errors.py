"""One tree of exceptions: every error says where, what was expected, what came, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckError",
    "FormulaError",
    "GraphEngineError",
    "GraphError",
    "OpError",
    "RuleError",
    "ShapeError",
    "SpecError",
    "SubmissionError",
    "TooLargeError",
    "ValuesError",
    "nearest",
    "plural",
]


class GraphEngineError(Exception):
    """Base of all errors that this package raises on purpose.

    The message has four parts: ``where`` it happened (a node, an argument, a
    ``file:line:column``), what was ``expected``, what was ``got`` and a
    ``hint`` on what to write instead.  Parts that do not apply are left out.

    >>> str(GraphEngineError("node 'z'", expected="2 arguments", got="3"))
    "node 'z': expected 2 arguments, got 3"
    """

    def __init__(self, where: str, *, expected: str = "", got: str = "", hint: str = "") -> None:
        self.where, self.expected, self.got, self.hint = where, expected, got, hint
        super().__init__(where, expected, got, hint)

    def __str__(self) -> str:
        middle = ", ".join(
            part
            for part in (
                f"expected {self.expected}" if self.expected else "",
                f"got {self.got}" if self.got else "",
            )
            if part
        )
        text = f"{self.where}: {middle}" if middle else self.where
        return f"{text}; {self.hint}" if self.hint else text

    def located(self, where: str) -> GraphEngineError:
        """The same error with ``where`` put in front of its place."""
        place = f"{where}: {self.where}" if self.where else where
        return type(self)(place, expected=self.expected, got=self.got, hint=self.hint)


class OpError(GraphEngineError):
    """An op's class is incomplete, or an op is used with arguments that it does not take."""


class RuleError(GraphEngineError):
    """A Jacobian rule does not fit the shapes that it is used with."""


class ShapeError(GraphEngineError):
    """Shapes that do not go together."""


class GraphError(GraphEngineError):
    """A graph that cannot be: a cycle, an unknown or duplicate name, a missing result."""


class ValuesError(GraphEngineError):
    """Values given for a run that are missing, unknown, or of the wrong shape or type."""


class TooLargeError(GraphEngineError):
    """Something explicit that would not fit in the memory (or work) that the caller allows."""


class FormulaError(GraphEngineError):
    """Formula text that is outside the formula language."""


class SpecError(GraphEngineError):
    """A spec file that cannot be read or does not say what a spec must say."""


class SubmissionError(GraphEngineError):
    """A submission that cannot be read, crashes, or passes its limits."""


class CheckError(GraphEngineError):
    """A check that cannot be made."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint "did you mean …?" with the known name nearest to ``name``, or "".

    >>> nearest("sofmax", ["softmax", "sum"])
    "did you mean 'softmax'?"
    >>> nearest("tahn", ["tan", "tanh"])
    "did you mean 'tanh'?"
    """
    names = list(known)
    letters = sorted(name.lower())
    close = [other for other in names if sorted(other.lower()) == letters]
    close = close or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def plural(count: int, noun: str) -> str:
    """``count`` and ``noun`` with its plural ending.

    >>> plural(1, "argument"), plural(2, "argument")
    ('1 argument', '2 arguments')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
