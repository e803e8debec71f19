"""Explicit Jacobians."""
