"""Tests of arrays without numbers."""
