"""Linear algebra: products, inverses, determinants, factorisations."""

from __future__ import annotations
