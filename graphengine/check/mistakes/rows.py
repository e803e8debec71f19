"""The 74 mistakes of the evidence: which kind names each, on a graph and in a plain function.

They were collected from the histories of libraries, from forums and from courses.  The tests make
each one that is listed as covered and look at what the check says of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["ROWS", "Row", "rows_of"]


class Row(NamedTuple):
    """One mistake: the kinds that name it in a claim about a graph, and about a function's values.

    ``op`` says that ``check_op`` finds it in a rule of one's own op (with the entry, without a
    kind); ``note`` what is not covered, and why.
    """

    mistake: str
    graph: tuple[str, ...] = ()
    function: tuple[str, ...] = ()
    note: str = ""
    op: bool = False


_NO_KINKS = "points on graphs keep away from kinks, ties and zeros"
_NAN = (
    f"found as a value that is not finite; {_NO_KINKS}, so that it is not seen there, and "
    "`check_op` passes over examples where a rule is not finite"
)

ROWS: dict[int, Row] = {
    # scale and sign
    1: Row("the 1/N of a mean forgotten", ("not_averaged",), ("factor",)),
    2: Row("the 1/N of a mean taken twice", ("averaged_twice",), ("factor",)),
    3: Row("a mean over all N·C entries for one over N", ("mean_for_sum",), ("factor",)),
    4: Row("the 2 of a square lost or kept", ("factor",), ("factor",)),
    5: Row("everything with the other sign", ("sign",), ("sign",)),
    6: Row("the sign of a residual, in a block of rows", ("sign",), ("sign",)),
    7: Row("a sign that is right for x > 0 alone", ("sign",), ("sign",)),
    8: Row("a constant of the chain rule: degrees, units", ("factor",), ("factor",)),
    9: Row(
        "a coefficient that depends on the index left out",
        ("missing_jacobian",),
        ("factor",),
        "on graphs where the coefficients are a node",
        op=True,
    ),
    10: Row("2 Jᵀr for ½ rᵀr", ("factor",), ("factor",)),
    # layout and storage
    11: Row("the Jacobian in the other layout", ("jacobian_transposed",), ("jacobian_transposed",)),
    12: Row("raveled by columns, not by rows", ("reordered",), ("reordered",)),
    13: Row(
        "W d for Wᵀ d",
        ("transposed", "shape"),
        note="where W is not square the formula cannot be evaluated: `shape`",
    ),
    14: Row("an outer product with its factors exchanged", ("transposed",), ("reordered",)),
    15: Row("the order of a Kronecker product", ("kronecker_order",), ("reordered",)),
    16: Row("blocks of parameters in another order", ("reordered",), ("reordered",)),
    17: Row(
        "a wrong index when slices of a gradient are written",
        (),
        ("treated_as_constant", "unknown"),
        "the entries that stay 0 are named where the last one written is right; on graphs a "
        "formula has no such loop",
    ),
    18: Row("a gradient of shape (n, 1)", ("shape",), ("shape",)),
    19: Row(
        "both triangles of a symmetric Hessian added up",
        (),
        ("double_counted",),
        "Hessians are checked as those of functions",
    ),
    20: Row(
        "an entry missing in a sparse Jacobian",
        (),
        ("pattern_missing",),
        "claims about graphs have no declared pattern",
    ),
    21: Row("diagonals of band storage moved", (), ("shifted",), "the same"),
    # the chain rule
    22: Row("one of several children overwrites the others", ("missing_path",)),
    23: Row(
        "one way counted twice; gradients not set to zero between calls",
        ("double_counted",),
        ("double_counted",),
    ),
    24: Row("a local derivative left out on one edge", ("missing_jacobian",)),
    25: Row("f′(x) for f′(g(x))", ("wrong_argument",)),
    26: Row("one term of the product rule only", ("missing_path",)),
    27: Row("mean and variance of a normalisation as constants", ("treated_as_constant",)),
    28: Row("a broadcast not added up", ("not_reduced",), ("shape",)),
    29: Row("a bias gets a mean, or the last example alone", ("mean_for_sum", "last_only")),
    30: Row("tied weights: one of the uses left out", ("missing_path",)),
    31: Row("the gradient declared zero", ("treated_as_constant",), ("treated_as_constant",)),
    32: Row(
        "a gradient where there is none",
        ("unknown",),
        ("pattern_extra",),
        "on graphs told as `unknown`, with the entry that should be 0",
    ),
    33: Row("the backward pass uses a value that was overwritten", ("wrong_argument",)),
    34: Row(
        "a value is returned, not a derivative",
        ("missing_jacobian",),
        ("unknown",),
        "a plain function has no nodes whose values could be recognised",
    ),
    35: Row("what comes from above is ignored", ("missing_jacobian",)),
    36: Row("implicit differentiation without its minus", ("sign",), ("sign",)),
    # functions of one entry
    37: Row("the slope in terms of the value, applied to the value", ("wrong_argument",)),
    38: Row("z where a belongs", ("wrong_argument",)),
    39: Row("the slope of another activation", ("wrong_slope",)),
    40: Row("the slope of the activation left out", ("missing_jacobian",)),
    41: Row("a ReLU masked by the sign of the upstream gradient", ("wrong_slope",)),
    42: Row(
        "≥ for > at a kink; slope 0 for the leaky side",
        ("wrong_slope",),
        (),
        "at the kink itself both are subgradients: no mistake, `undecided`",
    ),
    43: Row("a tie gives the whole gradient to both", (), ("tie",), _NO_KINKS),
    44: Row("x/|x| at 0 is not finite", (), ("unknown",), _NAN),
    45: Row(
        "floor for trunc",
        (),
        ("factor",),
        "seen where x has arguments of both signs; formulas have neither function",
    ),
    46: Row(
        "the partial derivatives of two arguments exchanged",
        ("swapped_arguments",),
        ("reordered",),
        op=True,
    ),
    47: Row(
        "arctan(y/x): exchanged, with a wrong power and sign",
        ("unknown",),
        ("unknown",),
        "three mistakes in one: found, with the worst entry",
        op=True,
    ),
    48: Row("the power rule on an exponential", ("wrong_slope", "factor", "missing_jacobian")),
    49: Row("a power or a product by dividing by its zeros", (), ("unknown",), _NAN),
    50: Row("NaN through the branch of `where` not taken", (), ("unknown",), _NAN),
    51: Row(
        "an epsilon in the backward pass alone, or elsewhere than forward",
        ("wrong_argument",),
        ("factor",),
        "on graphs where the epsilon is in a node; elsewhere it is found, and told as a guess or "
        "as `unknown`",
    ),
    52: Row("a complex conjugate missing", note="values are real numbers"),
    # losses and regularisers
    53: Row("the diagonal alone of the Jacobian of a softmax", ("diagonal_only",)),
    54: Row("p − y times p (1 − p) once more", ("double_counted",)),
    55: Row("p − y at the probabilities, not at the scores", ("double_counted",)),
    56: Row("the penalty forgotten", ("missing_regulariser",), ("missing_regulariser",)),
    57: Row("2λW for λW, or the reverse", ("regulariser_scale",), ("regulariser_scale",)),
    58: Row("λ divided by N", ("regulariser_scale",), ("regulariser_scale",)),
    59: Row(
        "the bias regularised",
        ("regularised_bias",),
        ("regulariser_scale",),
        "of a plain function it is not known which entries are a bias",
    ),
    60: Row("L1 for L2; the penalty with the other sign", ("regulariser_scale",)),
    # matrices
    61: Row("the derivative of tr(AX) is A", ("transposed",)),
    62: Row("log det and det: a transpose or the determinant missing", ("transposed", "factor")),
    63: Row("the inverse: the minus or one factor missing", ("sign", "missing_jacobian")),
    64: Row(
        "a symmetric variable: entries beside the diagonal twice",
        ("double_counted",),
        (),
        "where the right gradient is symmetric itself; else `unknown`",
    ),
    65: Row(
        "another formula for the Cholesky factor",
        ("unknown",),
        (),
        "it has no form that could be recognised: the wrong claim is named, with its worst entry",
        op=True,
    ),
    66: Row(
        "sums of rows for the diagonal",
        ("unknown",),
        ("unknown",),
        "a reduction of a right Jacobian after it was made; found, with the worst entry",
    ),
    67: Row("the identity at the wrong offset", (), ("shifted",), "formulas have no such `eye`"),
    # indices, geometry, procedure
    68: Row(
        "copies of a repeat added up in the wrong groups",
        ("reordered",),
        ("unknown",),
        "a plain function does not show the copies",
    ),
    69: Row("a padding of 0 cut off by x[l:-0]", ("shape",), ("shape",)),
    70: Row(
        "a convolution's kernel not flipped",
        ("reordered",),
        ("unknown",),
        "named for the gradient of the kernel; for that of the input it is found and told as "
        "`unknown`: the taps are spread over several entries",
    ),
    71: Row("the mask or the 1/keep of dropout missing", ("missing_jacobian", "factor")),
    72: Row(
        "left for right perturbations of a rotation",
        (),
        ("unknown",),
        "found, not named: it takes the rotation of the point, which no number of the claim shows",
    ),
    73: Row(
        "the Jacobian in tangent coordinates for that in all coordinates",
        (),
        ("shape",),
        "a quaternion has four columns, its tangent three",
    ),
    74: Row(
        "no mistake: single precision, noise, a kink, a step too large",
        note="no `wrong` comes of it: right within the error bars of the differences, or "
        "`undecided` with the reason",
    ),
}
"""The mistakes by their number."""


def rows_of(kind: str) -> Iterator[int]:
    """The numbers of the mistakes that a kind names."""
    return (number for number, row in ROWS.items() if kind in (*row.graph, *row.function))
