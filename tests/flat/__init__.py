"""Tests of flat code."""
