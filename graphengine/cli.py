"""The command line: run, check, grade, flat, ops, schema.

Only click is imported here; the engine is imported inside the commands, so that ``--help``,
``--version`` and completion answer at once.

Exit status: 0 when all is right, 1 when a claim is wrong or undecided, 2 when the input cannot
be read.  ``grade``: 0 when all submissions have a grade, 130 when it was interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from graphengine import __version__

if TYPE_CHECKING:
    from rich.console import RenderableType

    from graphengine.check import Report
    from graphengine.run import Run
    from graphengine.spec import Spec

P = ParamSpec("P")
FILE = click.Path(path_type=Path)


def _reads_files(command: Callable[P, int]) -> Callable[P, None]:
    """Run a command; what cannot be read becomes one line on standard error and status 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from graphengine.errors import GraphEngineError  # noqa: PLC0415 (light, but not for --help)

        try:
            status = command(*args, **kwargs)
        except GraphEngineError as error:
            click.echo(f"error: {error}", err=True)
            status = 2
        except OSError as error:
            click.echo(f"error: {error.filename}: {error.strerror}", err=True)
            status = 2
        sys.exit(status)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="graphengine %(version)s")
def main() -> None:
    """Explicit Jacobians on computational graphs, and the check of hand-derived gradients."""


@main.command()
@click.argument("spec", type=FILE)
@click.option("--values", type=FILE, help="The point: a YAML file (name: numbers) or an .npz file.")
@click.option("--wrt", default="", help="Names of nodes, separated by commas: show these alone.")
@click.option("--layout", type=click.Choice(["numerator", "denominator"]), default="numerator")
@click.option("--all", "every", is_flag=True, help="Show unnamed nodes too.")
@click.option("--seed", default=0, show_default=True, help="For a point drawn at random.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_reads_files
def run(
    spec: Path, values: Path | None, wrt: str, layout: Any, seed: int, *, every: bool, as_json: bool
) -> int:
    """Evaluate SPEC forward and backward at one point.

    The point is --values, else the values in the file, else one drawn at random.
    """
    from graphengine import board  # noqa: PLC0415 (heavy)

    loaded = _load(spec)
    names = _names(wrt) or None
    point, origin = _point(loaded, values, seed)
    nodes = board.node_rows(point, names, every=every)
    edges = board.edge_rows(point, layout, every=every)
    if names is not None:
        edges = [row for row in edges if row.parent in names]
    if as_json:
        _print_json(_as_data(loaded, origin, nodes, edges))
        return 0
    _print(*_tables(loaded, origin, nodes, edges))
    return 0


@main.command()
@click.argument("spec", type=FILE)
@click.argument("submission", type=FILE, required=False)
@click.option("--points", default=5, show_default=True, help="Random points for each claim.")
@click.option("--seed", default=0, show_default=True, help="Equal seeds give equal reports.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--coverage", is_flag=True, help="List known mistakes that would not show here.")
@click.option("--junit", type=FILE, help="Also write JUnit XML to this file.")
@click.option("--gradescope", type=FILE, help="Also write Gradescope's results.json to this file.")
@_reads_files
def check(
    spec: Path,
    submission: Path | None,
    points: int,
    seed: int,
    *,
    as_json: bool,
    coverage: bool,
    junit: Path | None,
    gradescope: Path | None,
) -> int:
    """Judge the hand-derived claims of SPEC, or of SUBMISSION against SPEC.

    Before the verdicts come the values, the gradients and the explicit Jacobians of the graph.
    """
    from graphengine import board  # noqa: PLC0415 (heavy)
    from graphengine.check import check as judge  # noqa: PLC0415 (heavy)
    from graphengine.spec import load_derivation  # noqa: PLC0415 (heavy)

    with _for_programs(submission or spec, junit, gradescope) as written:
        loaded = _load(spec)
        derivation = (
            loaded.derivation if submission is None else load_derivation(submission, loaded)
        )
        report = judge(loaded, derivation, points=points, seed=seed)
        written(loaded, report)
    if as_json:
        _print_json(report.to_dict())
        return report.exit_status
    if submission is None:
        point, origin = _point(loaded, None, seed)
        tables = _tables(loaded, origin, board.node_rows(point), board.edge_rows(point))
        _print(*tables, report)
    else:
        _print(report)
    if coverage:
        _print(*_coverage(report))
    return report.exit_status


@main.command()
@click.argument("spec", type=FILE)
@click.argument("folder", type=FILE)
@click.option("-o", "--out", type=FILE, default="grades", show_default=True, help="A folder.")
@click.option("--points", default=5, show_default=True, help="Random points for each claim.")
@click.option("--seed", default=0, show_default=True, help="Equal seeds give equal grades.")
@click.option("--jobs", type=int, help="Processes at a time.  [default: all cores]")
@click.option("--time-limit", default=20.0, show_default=True, help="Seconds for a submission.")
@_reads_files
def grade(
    spec: Path,
    folder: Path,
    out: Path,
    points: int,
    seed: int,
    jobs: int | None,
    time_limit: float,
) -> int:
    """Grade the submissions in FOLDER: files, or folders with one file each.

    Writes OUT/grades.csv, and OUT/gradescope/NAME.json for each submission.  Points and partial
    credit are those under points: and rubric: in SPEC.  A run that was interrupted continues where
    it stopped, with what stands in OUT/results.jsonl.  A Python submission is stopped after half
    of the time limit; this is no sandbox: grade files of people you do not trust in a container.
    """
    from graphengine.grading import grade as graded  # noqa: PLC0415 (heavy)
    from graphengine.grading.progress import progress_bar  # noqa: PLC0415 (heavy)

    try:
        with progress_bar() as progress:
            found = graded(
                spec,
                folder,
                out,
                seed=seed,
                points=points,
                jobs=jobs,
                time_limit=time_limit,
                progress=progress,
            )
    except KeyboardInterrupt:
        click.echo("interrupted; the same command continues from here", err=True)
        return 130
    _print(found)
    return 0


@main.command()
@click.argument("spec", type=FILE)
@click.option("-o", "--out", type=FILE, help="Write to this file.  [default: standard output]")
@click.option("--force", is_flag=True, help="Replace the file where it is there.")
@click.option("--wrt", multiple=True, help="Names of nodes, separated by commas: their gradients.")
@click.option(
    "--jacobian",
    nargs=2,
    metavar="OF WRT",
    help="The sparse Jacobian of OF (WRT: names, by commas).",
)
@click.option("--reuse", is_flag=True, help="Results in buffers that the next call fills again.")
@_reads_files
def flat(
    spec: Path,
    out: Path | None,
    wrt: tuple[str, ...],
    jacobian: tuple[str, str] | None,
    *,
    force: bool,
    reuse: bool,
) -> int:
    """Write SPEC as flat code: a Python function that needs NumPy and SciPy alone.

    It returns the result and, where that is one number, its gradients with respect to all
    parameters.
    """
    from graphengine.formats.output import write_whole  # noqa: PLC0415 (for this command alone)

    if jacobian and wrt:
        raise click.UsageError("--jacobian OF WRT takes the place of --wrt")
    graph = _load(spec).graph
    if out is not None and out.exists() and (not force or out.samefile(spec)):
        what = "is the spec itself" if out.samefile(spec) else "is there; --force replaces it"
        raise click.BadParameter(f"{out} {what}", param_hint="-o")
    if jacobian:
        names = _names(jacobian[1]) or [""]
        inner = names if len(names) > 1 else names[0]
        source = graph.compile_jacobian(jacobian[0], inner, reuse=reuse).source
    else:
        parameters = [node.name for node in graph.starts if node.role == "parameter"]
        default = parameters if graph.result_node.size == 1 else []
        source = graph.compile(wrt=_names(*wrt) or default, reuse=reuse).source
    if out is None:
        click.echo(str(source), nl=False)
    else:
        write_whole(out, str(source))
    return 0


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_reads_files
def ops(*, as_json: bool) -> int:
    """List the ops and the functions of the formula language."""
    from graphengine import catalogue  # noqa: PLC0415 (heavy)
    from graphengine.tables import table  # noqa: PLC0415 (heavy)

    if as_json:
        _print_json([row._asdict() for row in catalogue.functions()])
        return 0
    families: dict[str, list[tuple[str, str]]] = {}
    for row in catalogue.functions():
        families.setdefault(row.family, []).append((row.call, row.about.replace("``", "")))
    _print(*(table((family, ""), rows) for family, rows in families.items()))
    return 0


@main.command()
@_reads_files
def schema() -> int:
    """Print the JSON Schema of spec files, for completion in editors."""
    from graphengine.spec import json_schema  # noqa: PLC0415 (heavy)

    _print_json(json_schema())
    return 0


# --- what the commands share ----------------------------------------------------------------


def _load(path: Path) -> Spec:
    from graphengine.spec import load  # noqa: PLC0415 (heavy)

    return load(path)


def _names(*given: str) -> list[str]:
    """Names that stand in one text, separated by commas, or in several."""
    return [name.strip() for text in given for name in text.split(",") if name.strip()]


def _for_programs(
    checked: Path, junit: Path | None, gradescope: Path | None
) -> AbstractContextManager[Callable[[Spec, Report], None]]:
    """Where the report is written for other programs, as far as files are asked for."""
    if junit is None and gradescope is None:
        return nullcontext(lambda *_: None)
    from graphengine.grading.gradescope import written  # noqa: PLC0415 (heavy)

    return written(checked.name, to_junit=junit, to_gradescope=gradescope)


def _point(spec: Spec, values: Path | None, seed: int) -> tuple[Run, str]:
    """The graph at the point asked for, and where the point comes from."""
    from graphengine.check.points import sample  # noqa: PLC0415 (heavy)
    from graphengine.spec import load_values  # noqa: PLC0415 (heavy)

    if values is not None:
        return spec.graph.run(load_values(values, spec)), f"values of {values}"
    if spec.values:
        return spec.graph.run(spec.values), f"values of {spec.path}"
    drawn = sample(spec.graph, seed=seed)
    return spec.graph.run(drawn), f"a random point (seed {seed})"


def _tables(spec: Spec, origin: str, nodes: list[Any], edges: list[Any]) -> list[RenderableType]:
    from graphengine.board import short  # noqa: PLC0415 (heavy)
    from graphengine.tables import table  # noqa: PLC0415 (heavy)

    node_table = table(
        ("node", "is", "shape", "value", "gradient"),
        [
            (
                row.name,
                row.formula,
                _shape(row.shape),
                short(row.value, 28),
                "" if row.gradient is None else short(row.gradient, 28),
            )
            for row in nodes
        ],
        title=f"{spec.name}: {origin}",
    )
    edge_table = table(
        ("edge", "Jacobian", "shape", "nonzeros"),
        [
            (f"{row.child} <- {row.parent}", row.notation, _shape(row.shape), f"{row.nonzeros}")
            for row in edges
        ],
        right=("nonzeros",),
    )
    return [node_table, edge_table]


def _coverage(report: Report) -> Iterator[RenderableType]:
    """Which known mistakes would show at the points, claim by claim, and which would not."""
    from graphengine.tables import table  # noqa: PLC0415 (heavy)

    rows = [
        (claim.claim, f"{claim.coverage.visible}", f"{claim.coverage.total}")
        for claim in report.claims
    ]
    yield table(("claim", "would show", "known mistakes"), rows, right=("would show",))
    hidden = [(text,) for text in report.coverage.hidden]
    if hidden:
        yield table(("would not show at these points",), hidden)


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "number"


def _as_data(spec: Spec, origin: str, nodes: list[Any], edges: list[Any]) -> dict[str, Any]:
    return {
        "spec": spec.name,
        "point": origin,
        "nodes": [
            {
                "name": row.name,
                "formula": row.formula,
                "shape": list(row.shape),
                "value": _finite(row.value.tolist()),
                "gradient": None if row.gradient is None else _finite(row.gradient.tolist()),
            }
            for row in nodes
        ],
        "edges": [
            {
                "child": row.child,
                "parent": row.parent,
                "jacobian": row.notation,
                "shape": list(row.shape),
                "nonzeros": row.nonzeros,
            }
            for row in edges
        ],
    }


def _finite(value: Any) -> Any:
    """Numbers as JSON has them: those that are not finite become text."""
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value if abs(value) != float("inf") and value == value else str(value)  # noqa: PLR0124 (NaN)


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def _print(*parts: RenderableType) -> None:
    from graphengine.tables import console  # noqa: PLC0415 (heavy)

    out = console()
    for place, part in enumerate(parts):
        if place:
            out.print()
        out.print(part)
