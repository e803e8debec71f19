"""Choices and comparisons: maximum, where, clip, greater."""

from __future__ import annotations
