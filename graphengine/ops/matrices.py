"""Inverses and factors with clear errors, cofactors, and matrices for examples."""

from __future__ import annotations

import numpy as np

from graphengine.errors import OpError
from graphengine.ops.base import Array
from graphengine.tracing import as_array, recorded

__all__ = ["cofactors", "definite", "inverse", "lower_factor", "regular", "singular"]


def inverse(A: Array, name: str) -> Array:
    """``A⁻¹``, for the op ``name``; :class:`OpError` for a singular matrix."""
    try:
        return as_array(np.linalg.inv(A))
    except np.linalg.LinAlgError:
        raise singular(A, name) from None


def singular(A: Array, name: str) -> OpError:
    """The error of the op ``name`` that met a singular matrix among ``A``."""
    return OpError(
        name,
        expected="an invertible matrix",
        got="a singular one" + _first(np.linalg.slogdet(A)[0] == 0),
        hint="add a multiple of the identity, or leave the dependent rows out",
    )


def _first(wrong: Array) -> str:
    """Where in a stack the first of these is."""
    return f" at {np.argwhere(wrong)[0].tolist()} of the stack" if wrong.ndim else ""


def lower_factor(A: Array, name: str) -> Array:
    """The lower ``L`` with ``L Lᵀ = (A + Aᵀ) / 2``, for the op ``name``; :class:`OpError` for a
    matrix that is not positive definite.
    """
    S = (A + np.matrix_transpose(A)) / 2
    try:
        return as_array(np.linalg.cholesky(S))
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(np.nan_to_num(S))[..., 0]
        lowest = np.unravel_index(np.argmin(smallest), smallest.shape)
        raise OpError(
            name,
            expected="a positive definite matrix (its symmetric part)",
            got=f"one whose smallest eigenvalue is {smallest[lowest]:.3g}"
            + _first(np.arange(smallest.size).reshape(smallest.shape) == np.argmin(smallest)),
            hint="add a multiple of the identity",
        ) from None


@recorded(lambda A: A.shape)
def cofactors(A: Array) -> Array:
    """``det(A) A⁻ᵀ``, continued to singular matrices; not a number where ``A`` is not finite.

    The product holds up to the last nonzero pivot: determinant and inverse come from one
    factorisation, and an error of its smallest pivot cancels between the two.  Where the
    determinant vanishes, with ``A = U diag(s) Vᵀ`` the cofactors are
    ``det(U) det(V) U diag(Π_{j≠i} s_j) Vᵀ``.
    """
    det = np.linalg.det(A)[..., None, None]
    safe = np.isfinite(det) & (np.abs(det) > np.finfo(np.float64).tiny)
    found = det * np.matrix_transpose(np.linalg.inv(np.where(safe, A, np.eye(A.shape[-1]))))
    if safe.all():
        return np.asarray(found)
    finite = np.isfinite(A).all(axis=(-2, -1), keepdims=True)
    U, s, Vt = np.linalg.svd(np.where(finite, A, 0.0))
    sign = np.round(np.linalg.det(U) * np.linalg.det(Vt))
    with np.errstate(divide="ignore"):
        logs = np.where(np.eye(A.shape[-1], dtype=bool), 0.0, np.log(s)[..., None, :])
    scaled = sign[..., None] * np.exp(logs.sum(axis=-1))
    singular_ones = np.where(finite, (U * scaled[..., None, :]) @ Vt, np.nan)
    return np.where(safe, found, singular_ones)


def regular(rng: np.random.Generator, n: int, *stack: int, smallest: float = 0.5) -> Array:
    """Random matrices with singular values from ``smallest`` to 2."""
    left, right = (np.linalg.qr(rng.normal(size=(*stack, n, n)))[0] for _ in range(2))
    return np.asarray((left * np.linspace(2.0, smallest, n)) @ right)


def definite(rng: np.random.Generator, n: int, *stack: int, smallest: float = 0.5) -> Array:
    """Random symmetric matrices with eigenvalues from ``smallest`` to 2."""
    basis = np.linalg.qr(rng.normal(size=(*stack, n, n)))[0]
    A = (basis * np.linspace(2.0, smallest, n)) @ np.matrix_transpose(basis)
    return np.asarray((A + np.matrix_transpose(A)) / 2)
