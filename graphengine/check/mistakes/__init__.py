"""The catalogue of mistakes that people make in hand derivations, as changes of a backward pass.

Each module holds the mistakes of one kind of step; they register themselves with
:func:`~graphengine.check.mistakes.base.mistake`.
"""

from __future__ import annotations

from graphengine.check.mistakes import (
    arguments,
    chain,
    fused,
    gates,
    indices,
    layouts,
    margins,
    rules,
    scale,
    slopes,
    tied,
    upstream,
)
from graphengine.check.mistakes.base import Change, Link, Mutant
from graphengine.check.mistakes.catalogue import Catalogue
from graphengine.check.mistakes.penalties import penalty_name, regularisers

__all__ = [
    "FAMILIES",
    "Catalogue",
    "Change",
    "Link",
    "Mutant",
    "penalty_name",
    "regularisers",
]

FAMILIES = (
    scale,
    chain,
    slopes,
    rules,
    arguments,
    layouts,
    indices,
    fused,
    margins,
    gates,
    tied,
    upstream,
)
"""The modules with the mistakes at one link."""
