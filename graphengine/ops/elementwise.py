"""Functions of one entry: powers, logarithms, trigonometry."""

from __future__ import annotations
