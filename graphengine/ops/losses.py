"""Softmax, its relatives, and the losses of classification and regression."""

from __future__ import annotations
