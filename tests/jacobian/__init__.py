"""Tests of the Jacobian in index notation."""
