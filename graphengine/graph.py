"""Graphs: nodes with ops, built with operators and functions, checked as they are built."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike

from graphengine.errors import GraphEngineError, GraphError, nearest
from graphengine.node import KINDS, Kind, Node, Role, literal
from graphengine.ops import functions
from graphengine.ops.base import Array, Op, Shape, Written, as_value
from graphengine.ops.rearrangement import Alias

if TYPE_CHECKING:
    from graphengine.elimination import Order
    from graphengine.flat import Compiled, CompiledJacobian
    from graphengine.problems import Objective, ResidualProblem
    from graphengine.run import Run

__all__ = ["KINDS", "Graph", "Kind", "Node", "Role", "in_order"]

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Graph:
    """A computational graph: start nodes, ops on them, and one node that is the result.

    >>> import graphengine as ge
    >>> g = ge.Graph("least squares")
    >>> x, y = g.input("x", (4,)), g.input("y", (3,))
    >>> W = g.parameter("W", (3, 4))
    >>> z = g.node("z", y - W @ x)
    >>> loss = g.result("loss", 0.5 * ge.sum(z**2))
    >>> g["z"].formula, g["loss"].shape
    ('y - W @ x', ())
    """

    def __init__(self, name: str = "graph", *, about: str = "") -> None:
        self.name, self.about = name, about
        self.nodes: list[Node] = []
        """All nodes; parents come before their children."""
        self._given: dict[str, Node] = {}
        self._starts: list[Node] = []
        self._unnamed: list[Node] = []
        self._by_name: dict[str, Node] | None = None
        self._texts: dict[int, Written] = {}
        self._result: Node | None = None
        self._dag: nx.DiGraph[str] | None = None

    # --- building -------------------------------------------------------------------------

    def input(self, name: str, shape: int | Sequence[int] = (), *, kind: Kind = "real") -> Node:
        """A start node for data; ``kind`` says what its values are like (:data:`KINDS`)."""
        return self._start(name, "input", shape, kind)

    def parameter(self, name: str, shape: int | Sequence[int] = (), *, kind: Kind = "real") -> Node:
        """A start node for something to be learnt."""
        return self._start(name, "parameter", shape, kind)

    def constant(self, name: str, value: ArrayLike) -> Node:
        """A start node that has its value from the start."""
        array = frozen(as_value(value, f"constant {name!r}"))
        return self._start(name, "constant", array.shape, "real", array)

    def node(self, name: str, of: Any) -> Node:
        """Give the node ``of`` (an expression of nodes) a name."""
        given = of
        if not isinstance(given, Node) or given.graph is not self:
            raise GraphError(
                f"node {name!r}",
                expected="an expression of this graph's nodes",
                got="a node of another graph" if isinstance(of, Node) else repr(of)[:60],
                hint="numbers alone are a constant: g.constant(name, value)",
            )
        self._check_name(name)
        node = self.add(Alias(), (given,)) if given.role != "op" or given.named else given
        self._adopt(node, name)
        return node

    def result(self, name: str, of: Any = None) -> Node:
        """Name the node ``of`` and make it the result; without ``of``, the node called ``name``."""
        self._result = self[name] if of is None else self.node(name, of)
        self._dag = None
        return self._result

    def add(self, op: Op, args: Sequence[Any]) -> Node:
        """The node that ``op`` makes of ``args``: nodes of this graph, or numbers.

        Arity and shapes are checked here.
        """
        op.check_arity(len(args))
        found: list[Node | Array] = []
        shapes: list[Shape] = []
        for place, arg in enumerate(args):
            if isinstance(arg, Node):
                if arg.graph is not self:
                    raise GraphError(
                        f"{op.name}: argument {place + 1}",
                        expected=f"a node of graph {self.name!r}",
                        got=f"node {arg.name!r} of graph {arg.graph.name!r}",
                    )
                found.append(arg)
                shapes.append(arg.shape)
            elif type(arg) is float:
                found.append(_number(arg))
                shapes.append(())
            else:
                array = frozen(as_value(arg, f"{op.name}: argument {place + 1}"))
                found.append(array)
                shapes.append(array.shape)
        try:
            shape = op.shape_of(*shapes)
        except GraphEngineError as error:
            names = ", ".join(_name_of(arg) for arg in found)
            raise error.located(f"{self.name}: {op.name}({names})") from None
        node = Node(self, len(self.nodes), None, "op", shape, op, tuple(found))
        self.nodes.append(node)
        self._unnamed.append(node)
        self._by_name = self._dag = None
        return node

    def _start(
        self,
        name: str,
        role: Role,
        shape: int | Sequence[int],
        kind: Kind,
        value: Array | None = None,
    ) -> Node:
        self._check_name(name)
        sizes = _sizes(shape)
        if sizes is None:
            raise GraphError(
                f"{role} {name!r}",
                expected="a shape of whole numbers",
                got=repr(shape),
                hint="a number has the shape ()",
            )
        if kind not in KINDS:
            raise GraphError(
                f"{role} {name!r}",
                expected=f"a kind ({', '.join(KINDS)})",
                got=repr(kind),
                hint=nearest(str(kind), KINDS),
            )
        node = Node(self, len(self.nodes), name, role, sizes, kind=kind, value=value)
        self.nodes.append(node)
        self._starts.append(node)
        self._given[name] = node
        self._by_name = self._dag = None
        return node

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise GraphError(
                f"name {name!r}",
                expected="a letter or _, then letters, digits and _",
                got=repr(name),
            )
        if keyword.iskeyword(name):
            raise GraphError(
                f"name {name!r}",
                expected="a name",
                got="a word that Python keeps for itself",
                hint=f"write {name[:3]!r} or {name + '_'!r}",
            )
        if name in self._given:
            raise GraphError(
                f"name {name!r}",
                expected="a new name",
                got=f"a second node of that name (the first: {self._given[name]!r})",
            )

    def _adopt(self, node: Node, name: str) -> None:
        """Name ``node``, and the unnamed nodes that it was built from ``name.1``, ``name.2`` …."""
        node._name = name
        self._given[name] = node
        self._texts.clear()  # formulas write named nodes by their names
        stack: list[Node] = [node]
        own: list[Node] = []
        while stack:
            for arg in stack.pop().args:
                if isinstance(arg, Node) and arg._name is None:
                    arg._name = ""  # seen; named below in the order in which they were made
                    own.append(arg)
                    stack.append(arg)
        for count, arg in enumerate(sorted(own, key=lambda one: one.number), 1):
            arg._name = f"{name}.{count}"
        self._by_name = self._dag = None

    def _name_the_unnamed(self) -> None:
        for node in self._unnamed:
            if node._name is None:
                node._name = f"_.{node.number}"
        self._unnamed.clear()

    # --- looking --------------------------------------------------------------------------

    def __getitem__(self, name: str | Node) -> Node:
        """The node of that name (a node of this graph stands for itself)."""
        if type(name) is not str:
            if isinstance(name, Node):
                if name.graph is self:
                    return name
                name = name.name
            name = str(name)
        found = self._given.get(name)
        if found is None:
            if self._by_name is None:
                self._by_name = {node.name: node for node in self.nodes}
            found = self._by_name.get(name)
        if found is None:
            raise GraphError(
                f"graph {self.name!r}",
                expected="the name of a node",
                got=repr(name),
                hint=nearest(name, self._given),
            )
        return found

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def named(self) -> Mapping[str, Node]:
        """The nodes that were given a name, by name, in the order in which they were named."""
        return dict(self._given)

    @property
    def starts(self) -> tuple[Node, ...]:
        """The nodes without parents that take a value: inputs, parameters, constants."""
        return tuple(self._starts)

    @property
    def result_node(self) -> Node:
        """The result; if none was named, the one childless node."""
        if self._result is not None:
            return self._result
        parents = {parent for node in self.nodes for parent in node.parents}
        sinks = [node for node in self.nodes if node not in parents and node.role == "op"]
        if len(sinks) != 1:
            raise GraphError(
                f"graph {self.name!r}",
                expected="a result node",
                got=f"{len(sinks)} nodes without children",
                hint="name one with g.result(name)",
            )
        return sinks[0]

    @property
    def dag(self) -> nx.DiGraph[str]:
        """The graph as a ``networkx.DiGraph``, which the lecture's passes work on.

        A node holds ``role``, ``kind``, ``op``, ``args`` (parents' names, or fixed numbers),
        ``shape`` and, for constants, ``value``; an edge from parent to child holds ``positions``,
        the places of the parent among the child's arguments.  ``dag.graph["result"]`` names the
        result.  The same object is returned until the graph grows; its structure is frozen.
        """
        if self._dag is None:
            dag: nx.DiGraph[str] = nx.DiGraph(name=self.name)
            for node in self.nodes:
                args = tuple(arg.name if isinstance(arg, Node) else arg for arg in node.args)
                dag.add_node(
                    node.name,
                    role=node.role,
                    kind=node.kind,
                    op=node.op,
                    args=args,
                    shape=node.shape,
                )
                if node.value is not None:
                    dag.nodes[node.name]["value"] = node.value
                for place, arg in enumerate(args):
                    if isinstance(arg, str):
                        if dag.has_edge(arg, node.name):
                            dag.edges[arg, node.name]["positions"] += (place,)
                        else:
                            dag.add_edge(arg, node.name, positions=(place,))
            if self._result is not None or (len(self.nodes) and self._one_sink()):
                dag.graph["result"] = self.result_node.name
            self._dag = nx.freeze(dag)
        return self._dag

    def _one_sink(self) -> bool:
        try:
            return self.result_node is not None
        except GraphError:
            return False

    @classmethod
    def from_dag(cls, dag: nx.DiGraph[str], ops: Iterable[type[Op]] = ()) -> Graph:
        """The graph of a ``DiGraph`` whose nodes hold ``role``, ``shape``, ``op`` and ``args``.

        ``op`` may be an op or the name of one of the library's or of ``ops``.  Raises
        :class:`GraphError` for a cycle, an unknown parent or an unknown op.
        """
        graph = cls(str(dag.graph.get("name", "graph")))
        known = functions(ops)
        made: dict[str, Node] = {}
        for name in in_order(
            {
                name: [arg for arg in data.get("args", ()) if isinstance(arg, str)]
                for name, data in dag.nodes(data=True)
            }
        ):
            data = dag.nodes[name]
            op = data.get("op")
            if op is None:
                made[name] = graph._start_of(name, data)
                continue
            if not isinstance(op, Op):
                if not isinstance(op, str) or op not in known:
                    raise GraphError(
                        f"node {name!r}",
                        expected="an op, or the name of one",
                        got=repr(op),
                        hint=nearest(str(op), known),
                    )
                op = known[op].make((), {})
            args = [made[arg] if isinstance(arg, str) else arg for arg in data.get("args", ())]
            made[name] = graph.add(op, args)
            if "." not in name:
                graph._adopt(made[name], name)
        if "result" in dag.graph:
            graph._result = _known(dag.graph["result"], made)
        return graph

    def _start_of(self, name: str, data: Mapping[str, Any]) -> Node:
        """The start node that a node of a ``DiGraph`` without an op stands for."""
        role = data.get("role", "input")
        if role not in {"input", "parameter", "constant"} or (
            role == "constant" and "value" not in data
        ):
            raise GraphError(
                f"node {name!r}",
                expected="the role input, parameter, or constant with a value; or an op",
                got=f"role {role!r}" + ("" if "value" in data else " without a value"),
            )
        if role == "constant":
            return self.constant(name, data["value"])
        shape = data.get("shape", np.shape(data.get("value", 0.0)))
        return self._start(name, role, shape, data.get("kind", "real"))

    def __eq__(self, other: object) -> bool:
        """Equal graphs compute the same from the same names: same nodes, ops, arguments, result."""
        if not isinstance(other, Graph):
            return NotImplemented
        return _signature(self) == _signature(other)

    __hash__ = None  # type: ignore[assignment]  # a graph grows

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}: {len(self.nodes)} nodes>"

    # --- running --------------------------------------------------------------------------

    def run(
        self, values: Mapping[str, ArrayLike] | None = None, *, limit: int | None = None
    ) -> Run:
        """Evaluate the graph at one point; see :class:`graphengine.run.Run`.

        ``values`` gives the inputs and parameters (and may replace constants); ``limit`` bounds
        the bytes of explicit Jacobians.
        """
        from graphengine.run import Run  # noqa: PLC0415 (a run knows graphs, not the other way)

        return Run(self, values or {}, limit=limit)

    def compile(
        self,
        wrt: str | Node | Iterable[str | Node] = (),
        outputs: str | Node | Iterable[str | Node] | None = None,
        *,
        of: str | Node | None = None,
        reuse: bool = False,
        fused: bool = False,
    ) -> Compiled:
        """A function for the values of ``outputs`` and the gradients of ``of`` with respect to
        ``wrt``: flat code, one straight list of NumPy statements (lecture.md, section 3).

        The function takes the values of the start nodes, by name or in their order, those of
        constants left out, and returns a tuple: the outputs (the result by default) in their
        shapes, then the gradients of ``of`` (the result by default; it has one entry), each in
        the shape of its node; the one value alone where there is one.  Numbers are Python floats.
        With ``reuse`` the arrays that are returned, and all others, are buffers that the next call
        fills again: copy what is to be kept, or changed.  With ``fused`` numba compiles loops
        over what needs no library's call (the extra ``fast``).

        Its text is ``source``, which runs by itself.  What Python's numbers cannot do (a division
        by zero, the logarithm of zero) is computed by :meth:`run`; so are errors.

        >>> import graphengine as ge
        >>> g = ge.Graph("parabola")
        >>> x = g.input("x", (3,))
        >>> J = g.result("J", ge.sum(x**2))
        >>> f = g.compile(wrt="x")
        >>> f([1.0, 2.0, 3.0])
        (14.0, array([2., 4., 6.]))
        """
        from graphengine.flat import compile_graph  # noqa: PLC0415 (flat code knows graphs)

        return compile_graph(self, wrt, outputs, of, reuse=reuse, fused=fused)

    def compile_jacobian(
        self,
        of: str | Node,
        wrt: str | Node | Sequence[str | Node],
        *,
        order: Order = "auto",
        reuse: bool = False,
        fused: bool = False,
    ) -> CompiledJacobian:
        """A function for the full sparse Jacobian ``∂of/∂vec(wrt)``, or a tuple of several.

        It takes values as the functions of :meth:`compile` do and returns
        ``scipy.sparse.csr_array`` of ``size of`` rows and ``size wrt`` columns.  The pattern is
        found once; a call computes the numbers alone and writes them to their places.  The arrays
        of the pattern are shared by all results, and read-only.  With ``reuse`` each call fills
        and returns the same matrices; ``fused`` is as in :meth:`compile`.

        The nodes in between are eliminated in the ``order`` that takes fewest multiplications:
        "auto" compares forward, reverse and the cheapest node first; ``plan`` says what was done.
        Raises :class:`GraphError` where a rule cannot be traced, or a position depends on values.

        >>> import graphengine as ge
        >>> g = ge.Graph("layer")
        >>> W, x = g.parameter("W", (2, 3)), g.input("x", (3,))
        >>> z = g.node("z", ge.tanh(W @ x))
        >>> jf = g.compile_jacobian("z", "W")
        >>> jf(W=[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], x=[1.0, 2.0, 3.0]).toarray()
        array([[1., 2., 3., 0., 0., 0.],
               [0., 0., 0., 1., 2., 3.]])
        """
        from graphengine.flat import compile_jacobian  # noqa: PLC0415 (flat code knows graphs)

        return compile_jacobian(self, of, wrt, order=order, reuse=reuse, fused=fused)

    def residual_problem(
        self,
        wrt: str | Node | Iterable[str | Node],
        of: str | Node | None = None,
        values: Mapping[str, ArrayLike] | None = None,
        *,
        time: str | Node | None = None,
        dense: bool = False,
        reuse: bool = True,
    ) -> ResidualProblem:
        """The node ``of`` (the result by default) as SciPy's solvers want it: a function of one
        vector, with its Jacobian.

        The vector holds the start nodes ``wrt``, each raveled in C order, one after another;
        ``x0``, ``pack`` and ``unpack`` go between it and values by name.  ``values`` gives all
        other start nodes, which stay fixed, and those of ``wrt`` for ``x0``.  ``fun(x)`` is a
        vector, ``jac(x)`` one ``csr_array``, its pattern found once; with ``dense`` an array, for
        methods that take nothing else (``root``, ``least_squares(method="lm")``, ``LSODA``).
        ``fun_ivp(t, y)`` and ``jac_ivp(t, y)`` are the same for ``solve_ivp``; ``time`` names the
        start node that is ``t``, if there is one.  ``gauss_newton(x)`` gives ``JᵀJ`` and ``Jᵀr``.

        What is returned is always new: solvers keep it, and change it in place.  With ``reuse``
        all arrays in between are buffers, so that calls may not overlap (in threads).

        Raises :class:`GraphError` for unknown or computed nodes in ``wrt`` and where the Jacobian
        cannot be compiled, :class:`ValuesError` for missing values.

        >>> import graphengine as ge
        >>> g = ge.Graph("circle and line")
        >>> x, y = g.parameter("x"), g.parameter("y")
        >>> r = g.result("r", ge.stack([x**2 + y**2 - 2, x - y]))
        >>> problem = g.residual_problem(["x", "y"], values={"x": 2, "y": 1}, dense=True)
        >>> problem.fun(problem.x0), problem.jac(problem.x0)
        (array([3., 1.]), array([[ 4.,  2.], [ 1., -1.]]))
        >>> from scipy.optimize import root
        >>> root(problem.fun, problem.x0, jac=problem.jac).x.round(6)
        array([1., 1.])
        """
        from graphengine.problems import ResidualProblem  # noqa: PLC0415 (problems know graphs)

        return ResidualProblem(self, wrt, of, values, time=time, dense=dense, reuse=reuse)

    def objective(
        self,
        wrt: str | Node | Iterable[str | Node],
        of: str | Node | None = None,
        values: Mapping[str, ArrayLike] | None = None,
        *,
        reuse: bool = True,
    ) -> Objective:
        """The node ``of`` (the result by default; it has one entry) as
        ``scipy.optimize.minimize`` wants it: ``fun(x)`` is a number, ``jac(x)`` its gradient, both
        of one vector, as in :meth:`residual_problem`.

        Value and gradient come from one pass: what was found last is given again where ``x`` is
        the same.  ``fun_and_jac(x)`` is both, for ``minimize(…, jac=True)``.

        >>> import graphengine as ge
        >>> g = ge.Graph("bowl")
        >>> w = g.parameter("w", (2,))
        >>> J = g.result("J", ge.sum((w - 1) ** 2))
        >>> problem = g.objective("w", values={"w": [3, 1]})
        >>> problem.fun_and_jac(problem.x0)
        (4.0, array([4., 0.]))
        """
        from graphengine.problems import Objective  # noqa: PLC0415 (problems know graphs)

        return Objective(self, wrt, of, values, reuse=reuse)


def frozen(array: Array) -> Array:
    """A read-only copy."""
    copy = np.array(array)
    copy.setflags(write=False)
    return copy


def _number(given: float) -> Array:
    """A number as a read-only array."""
    array = np.array(given)
    array.setflags(write=False)
    return array


def in_order(parents: Mapping[str, Iterable[str]]) -> list[str]:
    """Names with parents before children, otherwise in the order given; no recursion.

    Raises :class:`GraphError` for a parent that is not there and for a cycle, which it shows.
    """
    order: list[str] = []
    state: dict[str, int] = {}  # 1: its parents are being visited, 2: done
    for root in parents:
        stack = [(root, iter(parents[root]))] if root not in state else []
        state.setdefault(root, 1)
        while stack:
            name, rest = stack[-1]
            parent = next(rest, None)
            if parent is None:
                stack.pop()
                state[name] = 2
                order.append(name)
            elif parent not in parents:
                raise GraphError(
                    f"node {name!r}",
                    expected="parents that are nodes",
                    got=repr(parent),
                    hint=nearest(parent, parents),
                )
            elif state.get(parent) == 1:
                path = [one for one, _ in stack]
                cycle = [*path[path.index(parent) :], parent]
                raise GraphError(
                    f"node {name!r}",
                    expected="no cycles",
                    got=" <- ".join(cycle[-12:]),
                    hint="a node cannot depend on itself",
                )
            elif parent not in state:
                state[parent] = 1
                stack.append((parent, iter(parents[parent])))
    return order


def _sizes(shape: object) -> Shape | None:
    """``shape`` as a tuple of whole numbers; None if it is no shape."""
    if type(shape) is tuple and not shape:
        return ()
    given = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in given)
    return tuple(int(n) for n in given) if whole and all(n >= 0 for n in given) else None


def _known(result: object, made: Mapping[str, Node]) -> Node:
    name = str(result)
    if name not in made:
        raise GraphError(
            "the result", expected="the name of a node", got=repr(result), hint=nearest(name, made)
        )
    return made[name]


def _name_of(arg: Node | Array) -> str:
    if isinstance(arg, Node):
        return arg._name or arg.formula
    return literal(arg) if arg.size < 6 else f"array {arg.shape}"


def _signature(graph: Graph) -> dict[str, Any]:
    """What each given name stands for, with its unnamed arguments written into it."""
    return {
        "result": _named_result(graph),
        **{name: (node.role, node.kind, _structure(node)) for name, node in graph.named.items()},
    }


def _named_result(graph: Graph) -> str | None:
    """The result, or the one named node that no other named node is computed from."""
    if graph._result is not None and graph._result.named:
        return graph._result.name
    used: set[Node] = set()
    stack = [*graph.named.values()]
    while stack:
        for parent in stack.pop().parents:
            if parent not in used and not parent.named:
                stack.append(parent)
            used.add(parent)
    sinks = [name for name, node in graph.named.items() if node.role == "op" and node not in used]
    return sinks[0] if len(sinks) == 1 else None


def _structure(top: Node) -> tuple[Any, ...]:
    """The ops below ``top`` down to named nodes, parents first; equal parts count once."""
    place: dict[int, int] = {}
    found: dict[Any, int] = {}
    stack = [top]
    while stack:
        node = stack[-1]
        unnamed = [a for a in node.args if isinstance(a, Node) and not a.named]
        waiting = [arg for arg in unnamed if arg.number not in place]
        if waiting:
            stack += reversed(waiting)
            continue
        stack.pop()
        if node.number in place:
            continue
        args = tuple(
            (arg.shape, arg.tobytes())
            if not isinstance(arg, Node)
            else arg.name
            if arg.named
            else place[arg.number]
            for arg in node.args
        )
        value = None if node.value is None else node.value.tobytes()
        place[node.number] = found.setdefault((node.op, node.shape, value, args), len(found))
    return tuple(found)
