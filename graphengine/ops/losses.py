"""Softmax, its relatives, and the losses of classification and regression.

Losses over classes take the last axis as the classes and give one number for each example of a
batch; the mean over the batch is the caller's (``mean(...)``).  The targets ``y`` have
derivatives too; class indices have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import scipy  # scipy.special is imported when it is first used: it takes longer than the rest

from graphengine.errors import ShapeError, ValuesError
from graphengine.jacobian import Rule, term
from graphengine.ops.activations import sigmoid
from graphengine.ops.base import (
    Array,
    Elementwise,
    Example,
    Op,
    Shape,
    axes_of,
    broadcast,
    letters,
    numbers,
    positive,
    slope,
)
from graphengine.ops.elementwise import distance
from graphengine.ops.moving import whole
from graphengine.tracing import as_array, known


def log_softmax(x: Array, axis: int = -1) -> Array:
    """``x - log Σ exp(x)``, the largest entry taken out first.

    >>> log_softmax(np.array([1000.0, 1000.0, -1000.0]))
    array([-6.93147181e-01, -6.93147181e-01, -2.00069315e+03])
    """
    shift = np.max(x.real, axis=axis, keepdims=True, initial=-np.inf)
    moved = as_array(x - np.where(np.isfinite(shift), shift, 0.0))
    return as_array(moved - np.log(np.sum(np.exp(moved), axis=axis, keepdims=True)))


def softmax(x: Array, axis: int = -1) -> Array:
    """``exp(x) / Σ exp(x)``, the largest entry taken out first.

    >>> softmax(np.array([1000.0, 1000.0, -1000.0]))
    array([0.5, 0.5, 0. ])
    """
    shift = np.max(x.real, axis=axis, keepdims=True, initial=-np.inf)
    powers = np.exp(x - np.where(np.isfinite(shift), shift, 0.0))
    return as_array(powers / np.sum(powers, axis=axis, keepdims=True))


# --- softmax ------------------------------------------------------------------------------


class Normalisation(Op):
    """A function that ties the entries along one axis together."""

    family = "losses"
    axis: int = -1

    def shape(self, x: Shape) -> Shape:
        """The same shape; ``axis`` must be one of its axes."""
        if not x:
            raise ShapeError("", expected="an array with at least one axis", got="a number")
        axes_of(self.axis, len(x))
        return x

    def labels(self, x: Array) -> tuple[str, str]:
        """Labels of the output, and of the input with a label of its own along the axis."""
        (axis,) = axes_of(self.axis, x.ndim)
        own = letters(x.ndim + 1)
        return own[:-1], own[:axis] + own[-1] + own[axis + 1 : -1]

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """A vector, a batch, other axes, size 1, empty, ±1000."""
        yield cls(), (numbers(rng, 4),)
        yield cls(), (numbers(rng, 3, 2),)
        yield cls(axis=0), (numbers(rng, 2, 3),)
        yield cls(axis=1), (numbers(rng, 2, 3, 2),)
        yield cls(axis=-3), (numbers(rng, 2, 1, 3),)
        yield cls(), (numbers(rng, 2, 1),)
        yield cls(), (numbers(rng, 1),)
        yield cls(), (numbers(rng, 0, 3),)
        yield cls(), (np.array([[-1000.0, 0.5, 1000.0], [999.0, 1000.0, 999.5]]),)


class Softmax(Normalisation):
    """``exp(x) / Σ exp(x)`` along ``axis``, also far from 0.

    Entries of ``-inf`` have probability 0; where all are ``-inf`` there is no distribution, and
    the value is ``nan``.
    """

    name = "softmax"

    def forward(self, x: Array) -> Array:
        """Probabilities."""
        return softmax(x, self.axis)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``diag(p) − p pᵀ``; over a batch, one block for each example."""
        own, other = self.labels(x)
        both = ("out", own, ""), ("out", other, "")
        return term(f"{own} <- {own}", out=own) - term(f"{own} <- {other}", *both)


class LogSoftmax(Normalisation):
    """``x - log Σ exp(x)`` along ``axis``, also far from 0."""

    name = "log_softmax"

    def forward(self, x: Array) -> Array:
        """Logarithms of probabilities."""
        return log_softmax(x, self.axis)

    def d_x(self, out: Array, x: Array) -> Rule:
        """``I − 1 pᵀ``, ``p = exp(out)``; over a batch, one block for each example."""
        own, other = self.labels(x)
        p = (np.exp(out), other, "exp({out})")
        return term(f"{own} <- {own}") - term(f"{own} <- {other}", p)


# --- losses over the classes of the last axis ---------------------------------------------


class ClassLoss(Op):
    """A loss of scores or probabilities and targets; the last axis of both counts the classes.

    Leading axes are broadcast; the value has one entry for each example.
    """

    family = "losses"

    def shape(self, s: Shape, y: Shape) -> Shape:
        """``(..., C)`` and ``(..., C)`` give ``(...)``."""
        if not s or not y or s[-1] != y[-1]:
            raise ShapeError(
                "",
                expected="the same number of classes on the last axes",
                got=f"shapes {s} and {y}",
                hint="targets are one-hot or probabilities; svm_loss takes class indices",
            )
        return broadcast(s[:-1], y[:-1])

    @staticmethod
    def rule(array: Array, text: str) -> Rule:
        """The rule whose one factor is ``array``, with an entry for each example and class."""
        return term("... <- ...i", (array, "...i", text))

    @classmethod
    def samples(cls, rng: np.random.Generator, draw: Callable[..., Array]) -> Iterator[Example]:
        """A vector, a batch, probabilities, broadcast both ways, one class, empty."""
        yield cls(), (draw(rng, 2), _one_hot(1)[0])
        yield cls(), (draw(rng, 3, 2), _one_hot(1, 0, 1))
        yield cls(), (draw(rng, 2, 3), _probabilities(rng, 2, 3))
        yield cls(), (draw(rng, 2, 1, 3), _probabilities(rng, 2, 3))
        yield cls(), (draw(rng, 3), _probabilities(rng, 2, 3))
        yield cls(), (draw(rng, 1), np.array([1.0]))
        yield cls(), (np.zeros((0, 3)), np.zeros((0, 3)))


class CrossEntropy(ClassLoss):
    """``-Σ y log p`` over the last axis, from probabilities ``p``.

    A class with ``y = 0`` adds 0 and has slope 0 in ``p``, also where ``p = 0``.
    """

    name = "cross_entropy"

    def forward(self, p: Array, y: Array) -> Array:
        """The cross-entropy."""
        return as_array(0.0 - np.sum(scipy.special.xlogy(y, p), axis=-1))

    def d_p(self, out: Array, p: Array, y: Array) -> Rule:
        """``-(y / p)ᵀ``; 0 where ``y = 0``."""
        return -self.rule(np.where(y == 0, 0.0, y / p), "{y} / {p}")

    def d_y(self, out: Array, p: Array, y: Array) -> Rule:
        """``-log(p)ᵀ``."""
        return -self.rule(np.log(p), "log({p})")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Those of the family, and probabilities close to 0 and 1."""
        yield from cls.samples(rng, _probabilities)
        yield cls(), (np.array([[1.0 - 1e-9, 1e-9], [1e-9, 1.0 - 1e-9]]), _one_hot(0, 0))


class SoftmaxCrossEntropy(ClassLoss):
    """``-Σ y log softmax(s)`` over the last axis, from scores ``s``, also far from 0.

    For ``y`` that adds up to 1 this is the log-sum-exp form ``log Σ exp(s) - Σ y s``.  A class
    with ``y = 0`` adds 0, also where ``s = -inf``.
    """

    name = "softmax_cross_entropy"

    def forward(self, s: Array, y: Array) -> Array:
        """The cross-entropy."""
        weighted = np.where(y == 0, 0.0, y * log_softmax(s))
        return as_array(0.0 - np.sum(weighted, axis=-1))

    def d_s(self, out: Array, s: Array, y: Array) -> Rule:
        """``(softmax(s) − y)ᵀ``; for other sums of ``y``, ``(softmax(s) Σy − y)ᵀ``."""
        total = np.sum(y, axis=-1, keepdims=True)
        whole = known(total) and bool(np.all(np.abs(total - 1.0) < 1e-12))
        text = "softmax({s}) - {y}" if whole else "softmax({s}) * sum({y}) - {y}"
        return self.rule(softmax(s) * total - y, text)

    def d_y(self, out: Array, s: Array, y: Array) -> Rule:
        """``-log_softmax(s)ᵀ``."""
        return -self.rule(log_softmax(s), "log_softmax({s})")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Those of the family, targets that do not add up to 1, and scores of ±1000."""
        yield from cls.samples(rng, numbers)
        yield cls(), (numbers(rng, 3), numbers(rng, 2, 3))
        yield cls(), (np.array([[1000.0, -1000.0], [-1000.0, 1000.0]]), _one_hot(0, 0))


class SvmLoss(Op):
    """``Σ_{j ≠ label} max(0, s_j − s_label + delta)`` over the last axis: the multi-class SVM.

    ``label`` holds class indices from 0, one for each example; it has no derivative.  A class
    that just meets the margin (``s_j − s_label + delta = 0``) has slope 0.
    """

    name = "svm_loss"
    family = "losses"
    fixed = frozenset({"label"})
    delta: float = 1.0

    def shape(self, s: Shape, label: Shape) -> Shape:
        """``(..., C)`` and ``(...)`` give ``(...)``."""
        if not s or s[-1] == 0 or s[:-1] != label:
            raise ShapeError(
                "",
                expected="scores (..., classes) and a class index for each example (...)",
                got=f"shapes {s} and {label}",
                hint="the label of a single vector of scores is a number",
            )
        return label

    def forward(self, s: Array, label: Array) -> Array:
        """The sum over the classes that come too close."""
        return as_array(np.sum(np.maximum(self._excess(s, label), 0.0), axis=-1))

    def d_s(self, out: Array, s: Array, label: Array) -> Rule:
        """1 for each class that comes too close, and minus their count for the label's own."""
        array = np.heaviside(self._excess(s, label), 0.0)
        counts = np.sum(array, axis=-1, keepdims=True)
        array = np.where(_own(label, s.shape[-1]), -counts, array)
        text = f"step({{s}} - {{s}}[{{label}}] + {self.delta:g}) - count * one_hot({{label}})"
        return term("... <- ...i", (array, "...i", text))

    def _excess(self, s: Array, label: Array) -> Array:
        """``s_j − s_label + delta``, and ``-inf`` for the label's own."""
        classes = s.shape[-1]
        chosen = np.take_along_axis(s, _places(label, classes), axis=-1)
        return np.where(_own(label, classes), -np.inf, s - chosen + self.delta)

    def margin(self, s: Array, label: Array) -> float:
        """The distance of the nearest class from the margin."""
        return distance(self._excess(s, label))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """One vector, a batch, a stack, another margin, one class, empty."""
        lecture = np.array([[2.1, 3.4, -2.0], [0.2, 5.1, 1.7], [2.3, 3.1, -1.2]])
        yield cls(), (lecture[0], np.array(0.0))
        yield cls(), (lecture, np.array([0.0, 1.0, 2.0]))
        yield cls(), (numbers(rng, 2, 2, 3), np.array([[0.0, 2.0], [1.0, 2.0]]))
        yield cls(delta=0.3), (numbers(rng, 4, 3), np.array([2.0, 1.0, 0.0, 0.0]))
        yield cls(), (numbers(rng, 2, 1), np.zeros(2))
        yield cls(), (numbers(rng, 0, 3), np.zeros(0))


# --- losses entry by entry ----------------------------------------------------------------


class BinaryLoss(Elementwise):
    """A loss of each entry, for targets of 0 and 1; broadcast."""

    family = "losses"

    @classmethod
    def samples(
        cls, rng: np.random.Generator, draw: Callable[..., Array], hard: Array
    ) -> Iterator[Example]:
        """Zeros and ones, probabilities, broadcast, numbers, size 1, empty, hard entries."""
        yield cls(), (draw(rng, 2, 3), np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
        yield cls(), (draw(rng, 4, 1, 3), _inside(rng, 2, 1))
        yield cls(), (draw(rng), _inside(rng, 3))
        yield cls(), (draw(rng, 1), np.array([[1.0]]))
        yield cls(), (np.zeros((0, 3)), np.zeros(3))
        yield cls(), (hard, np.array([0.0, 1.0, 0.0, 1.0]))


class BinaryCrossEntropy(BinaryLoss):
    """``-y log p - (1 - y) log(1 - p)`` entry by entry, from probabilities ``p``; broadcast.

    A term whose weight (``y`` or ``1 - y``) is 0 adds 0 and has slope 0 in ``p``, also where its
    logarithm is infinite.
    """

    name = "binary_cross_entropy"

    def forward(self, p: Array, y: Array) -> Array:
        """The cross-entropy of each entry."""
        return as_array(0.0 - scipy.special.xlogy(y, p) - scipy.special.xlog1py(1.0 - y, -p))

    def d_p(self, out: Array, p: Array, y: Array) -> Rule:
        """``diag((p − y) / (p (1 − p)))``."""
        ones = np.where(y == 0, 0.0, y / p)
        zeros = np.where(y == 1, 0.0, (1.0 - y) / (1.0 - p))
        return slope(zeros - ones, "({p} - {y}) / ({p} * (1 - {p}))")

    def d_y(self, out: Array, p: Array, y: Array) -> Rule:
        """``diag(log((1 − p) / p))``."""
        return slope(np.log1p(-p) - np.log(p), "log((1 - {p}) / {p})")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Those of the family, and probabilities close to 0 and 1."""
        yield from cls.samples(rng, _inside, np.array([1e-9, 1.0 - 1e-9, 1.0 - 1e-9, 1e-9]))


class SigmoidCrossEntropy(BinaryLoss):
    """``-y log σ(z) - (1 - y) log(1 - σ(z))`` entry by entry, from scores ``z``; broadcast.

    The form ``log(1 + exp(z)) - y z``, exact also far from 0.
    """

    name = "sigmoid_cross_entropy"

    def forward(self, z: Array, y: Array) -> Array:
        """The cross-entropy; large parts cancel before the small one is added."""
        large = np.maximum(z, 0.0) - y * z
        return as_array(large + np.log1p(np.exp(np.minimum(z, -z))))

    def d_z(self, out: Array, z: Array, y: Array) -> Rule:
        """``diag(σ(z) − y)``."""
        return slope(sigmoid(z) - y, "sigmoid({z}) - {y}")

    def d_y(self, out: Array, z: Array, y: Array) -> Rule:
        """``-diag(z)``."""
        return -term("... <- ...", z="...")

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Those of the family, and scores of ±1000."""
        yield from cls.samples(rng, numbers, np.array([1000.0, 1000.0, -1000.0, -1000.0]))


class Hinge(Elementwise):
    """``max(0, 1 - y s)`` entry by entry, for targets of −1 and 1; broadcast.

    Where ``y s = 1`` the slopes are 0.
    """

    name = "hinge"
    family = "losses"

    def forward(self, s: Array, y: Array) -> Array:
        """What is missing to the margin."""
        return np.maximum(1.0 - y * s, 0.0)

    def d_s(self, out: Array, s: Array, y: Array) -> Rule:
        """``-y`` where ``y s < 1``, else 0."""
        return -slope(np.where(y * s < 1, y, 0.0), "where({y} * {s} < 1, {y}, 0)")

    def d_y(self, out: Array, s: Array, y: Array) -> Rule:
        """``-s`` where ``y s < 1``, else 0."""
        return -slope(np.where(y * s < 1, s, 0.0), "where({y} * {s} < 1, {s}, 0)")

    def margin(self, s: Array, y: Array) -> float:
        """The distance of ``y s`` from 1."""
        return distance(y * s, 1.0)

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Both targets, broadcast, numbers, size 1, empty, far and near."""
        yield cls(), (numbers(rng, 2, 3), np.array([[-1.0, 1.0, 1.0], [1.0, -1.0, -1.0]]))
        yield cls(), (numbers(rng, 4, 1, 3), np.array([[1.0], [-1.0]]))
        yield cls(), (numbers(rng), np.array([1.0, -1.0, 0.5]))
        yield cls(), (numbers(rng, 1), np.array([[-1.0]]))
        yield cls(), (numbers(rng, 0, 3), np.ones(3))
        yield cls(), (np.array([-1e6, 1e6, 1.0 - 1e-6, 1.0 + 1e-6]), np.ones(4))


class SquaredError(Op):
    """``Σ (x - y)²`` over all entries, a number; broadcast."""

    name = "squared_error"
    family = "losses"

    def shape(self, x: Shape, y: Shape) -> Shape:
        """A number; the arguments must broadcast."""
        broadcast(x, y)
        return ()

    def forward(self, x: Array, y: Array) -> Array:
        """The sum of squares."""
        return as_array(np.sum(np.square(x - y)))

    def d_x(self, out: Array, x: Array, y: Array) -> Rule:
        """``2 (x − y)ᵀ``."""
        return 2.0 * term("<- ...", (x - y, "...", "{x} - {y}"))

    def d_y(self, out: Array, x: Array, y: Array) -> Rule:
        """``-2 (x − y)ᵀ``."""
        return -2.0 * term("<- ...", (x - y, "...", "{x} - {y}"))

    @classmethod
    def examples(cls, rng: np.random.Generator) -> Iterator[Example]:
        """Vectors, matrices, broadcast both ways, numbers, size 1, empty."""
        yield cls(), (numbers(rng, 4), numbers(rng, 4))
        yield cls(), (numbers(rng, 2, 3), numbers(rng, 2, 3))
        yield cls(), (numbers(rng, 2, 1, 3), numbers(rng, 4, 1))
        yield cls(), (numbers(rng), numbers(rng, 3))
        yield cls(), (numbers(rng), numbers(rng))
        yield cls(), (numbers(rng, 1), numbers(rng, 1, 1))
        yield cls(), (numbers(rng, 0, 3), numbers(rng, 3))


# --- helpers ------------------------------------------------------------------------------


def _places(label: Array, classes: int) -> Array:
    """Class indices as whole numbers with an axis of size 1; :class:`ValuesError` for others."""
    if not known(label):
        return np.expand_dims(whole(label, 0, classes), -1)
    label = np.asarray(label).real
    bad = (label != np.floor(label)) | (label < 0) | (label >= classes)
    if np.any(bad):
        raise ValuesError(
            "svm_loss: label",
            expected=f"whole numbers from 0 to {classes - 1}",
            got=f"{label[bad].flat[0]:g}",
            hint="labels are class indices; one-hot targets go to softmax_cross_entropy",
        )
    return label.astype(np.intp)[..., None]


def _own(label: Array, classes: int) -> Array:
    """Which class is each example's own."""
    return as_array(_places(label, classes) == np.arange(classes))


def _probabilities(rng: np.random.Generator, *shape: int) -> Array:
    """Positive numbers that add up to 1 along the last axis."""
    found = positive(rng, *shape)
    return as_array(found / found.sum(axis=-1, keepdims=True))


def _inside(rng: np.random.Generator, *shape: int) -> Array:
    """Numbers between 0 and 1."""
    return positive(rng, *shape, low=0.1, high=0.9)


def _one_hot(*label: int) -> Array:
    """One row for each label, of two classes."""
    return np.eye(2)[list(label)]
