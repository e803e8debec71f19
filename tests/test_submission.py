"""Submissions in Python: what their functions give, and the limits that hold them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphengine import submission
from graphengine.derivation import Found, Point
from graphengine.errors import GraphEngineError, SubmissionError
from graphengine.spec import Spec, load, load_derivation
from graphengine.submission import PythonDerivation, child
from graphengine.submission import runner as submission_runner
from graphengine.submission.scratch import scratch_folder

SPEC = Path(__file__).parent.parent / "specs" / "softmax_regression.yaml"


@pytest.fixture(scope="module")
def spec() -> Spec:
    """The lecture's worked example."""
    return load(SPEC)


@pytest.fixture
def submit(spec: Spec, tmp_path: Path) -> Any:
    """A function that loads a submission's text."""

    def writer(text: str, **limits: Any) -> PythonDerivation:
        path = tmp_path / "mine.py"
        path.write_text(textwrap.dedent(text), "utf-8")
        found = PythonDerivation.load(path, spec.graph, spec.sizes, **limits)
        assert isinstance(found, PythonDerivation)
        return found

    return writer


@pytest.fixture(scope="module")
def points(spec: Spec) -> list[Point]:
    """The spec's own point, and another one at other sizes."""
    found = []
    for sizes in ({}, {"C": 2, "d": 5}):
        graph = spec.at(sizes)
        rng = np.random.default_rng(0)
        values = {
            node.name: rng.uniform(0.1, 1.0, node.shape)
            for node in graph.starts
            if node.value is None
        }
        run = graph.run(values)
        found.append(
            Point({**spec.sizes, **sizes}, graph, {name: run.value(name) for name in graph.named})
        )
    return found


def said(found: Found) -> dict[str, str]:
    """The errors, without the folder of the file."""
    return {
        name: str(value).split("mine.py")[-1]
        for name, value in found.items()
        if isinstance(value, GraphEngineError)
    }


def test_claims_helpers_sizes_and_layout(submit: Any, points: list[Point]) -> None:
    derivation = submit(
        """
        import numpy as np

        layout: str = "denominator"

        def unused(anything):
            return anything

        def dsoftmax_ds(p):
            return np.diag(p) - np.outer(p, p)

        def g(y, p):
            return p - y

        def dJ_db(g):
            return g

        def dJ_dW(dJ_db, x, W, lam, /, factor=2):
            return np.outer(dJ_db, x) + factor * lam * W

        def dp_ds(p, C, d, y=0):
            return dsoftmax_ds(p) + 0 * C * d

        def dJ_dr(lam):
            return float(lam)

        def ds_dz(C):
            import scipy.sparse
            return scipy.sparse.eye_array(C)

        def ds_db(C):
            return [[i == j for j in range(C)] for i in range(C)]

        def dJ_dx(W, g):
            W *= 0
            g *= 0
            return np.float32(1.5)

        def dJ_dz(W, g):
            return np.append(W.ravel()[:1], [np.nan, np.inf, g[0]])
        """
    )
    assert derivation.layout == "denominator"
    names = ["J/b", "J/W", "p/s", "J/r", "s/z", "s/b", "J/x", "J/z"]
    assert [claim.name for claim in derivation.claims] == names
    assert derivation.claims[0].source == "dJ_db"
    assert derivation.claims[0].place.endswith("mine.py:15:1")
    for point, found in zip(points, derivation.evaluate(points), strict=True):
        assert said(found) == {}
        value = point.values
        p, y, x, W = value["p"], value["y"], value["x"], value["W"]
        np.testing.assert_array_equal(found["J/b"], p - y)
        np.testing.assert_array_equal(found["J/W"], np.outer(p - y, x) + 2 * 0.1 * W)
        np.testing.assert_array_equal(found["p/s"], np.diag(p) - np.outer(p, p))
        np.testing.assert_array_equal(found["s/z"], np.eye(len(p)))
        np.testing.assert_array_equal(found["s/b"], np.eye(len(p)))
        assert (found["J/r"], found["J/x"]) == (0.1, 1.5)
        # what one function changes in place does not reach the next
        np.testing.assert_array_equal(found["J/z"], [W[0, 0], np.nan, np.inf, (p - y)[0]])


def test_what_a_function_does_wrong_is_the_error_of_its_claim(
    submit: Any, points: list[Point]
) -> None:
    derivation = submit(
        """
        import numpy as np

        def helper(x):
            return 1 / 0

        def dJ_dx(x): return x
        def dz_dx(helper): return helper
        def dz_dW(x):
            pass
        def dJ_dW(W): return W + 1j
        def dJ_dz(W): return np.broadcast_to(0.0, (10**6, 10**6))
        def dJ_ds(W): return np.ones((20000, 20000))
        def dJ_dp(W): return "text"
        def dJ_db(W): return [[1], [2, 3]]
        def dJ_dr(W): return [None]
        def dJ_dl(W): raise SystemExit(3)
        def dl_dp(W):
            raise type("Own", (Exception,), {"__str__": lambda self: 1 / 0})()
        def dr_dW(W):
            raise ValueError("one\\n\\x1b[31mtwo" + "x" * 1000)
        def ds_dz(W): return ds_dz(W)
        def ds_db(W):
            import scipy.sparse
            return scipy.sparse.coo_array((10**9, 10**9))
        """
    )
    (found,) = derivation.evaluate(points[:1])
    errors = said(found)
    np.testing.assert_array_equal(found["J/x"], points[0].values["x"])
    assert errors.pop("r/W").startswith(
        ":21: expected a value, got ValueError: one \ufffd[31mtwoxx"
    )
    assert ":22: expected a value, got RecursionError" in errors.pop("s/z")
    assert errors.pop("s/b") == ":23: expected an array of real numbers, got a coo_array"
    assert errors.pop("J/s").startswith(":13: expected a value, got MemoryError")
    assert errors == {
        "z/x": ":5: expected a value, got ZeroDivisionError: division by zero",
        "z/W": ":9: expected an array of real numbers, got None; is there a 'return'?",
        "J/W": ":11: expected an array of real numbers, got complex numbers",
        "J/z": ":12: expected an array of real numbers, got an array of shape (1000000, 1000000): "
        "more than 268435456 bytes",
        "J/p": ":14: expected an array of real numbers, got a str",
        "J/b": ":15: expected an array of real numbers, got lists of unequal length",
        "J/r": ":16: expected an array of real numbers, got a list",
        "J/l": ":17: expected a value, got SystemExit: 3",
        "l/p": ":19: expected a value, got Own",
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("raise ValueError('no')\n", ":2: expected a value, got ValueError: no"),
        ("import nothing_of_this_name\n", ":2: expected a value, got ModuleNotFoundError"),
        ("import graph_of_mine.py\n", ":2: expected a value, got ModuleNotFoundError"),
        ("import sys\nsys.exit('bye')\n", ":3: expected a value, got SystemExit: bye"),
        ("import os\nos._exit(5)\n", ":4: expected a value, got none: it ended with status 5"),
        ("import os\nos.abort()\n", ":4: expected a value, got none: it was killed by SIGABRT"),
    ],
)
def test_a_file_that_does_not_run_fails_all_claims(
    text: str, error: str, submit: Any, points: list[Point]
) -> None:
    derivation = submit("\n" + text + "def dJ_db(b): return b\n")
    for found in derivation.evaluate(points):
        assert said(found)["J/b"].startswith(error)


def test_what_it_prints_is_kept_and_bounded(submit: Any, points: list[Point]) -> None:
    derivation = submit(
        """
        import sys, warnings, numpy as np
        print("hello")
        def dJ_db(b):
            warnings.warn("careful")
            np.log(-b)
            sys.stderr.write("é" * 100_000)
            sys.stdout.write("x" * 10_000_000)
            return b
        """
    )
    (found,) = derivation.evaluate(points[:1])
    assert said(found) == {}
    assert len(derivation.printed) <= child.PRINTED_LIMIT
    assert "careful" in derivation.printed


def running(token: str) -> list[int]:
    """Processes with ``token`` in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if token.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_the_time_limit_kills_it_and_what_it_started(submit: Any, points: list[Point]) -> None:
    token = f"token_{os.getpid()}"
    derivation = submit(
        f"""
        import os, signal, subprocess, sys, time

        def dJ_db(b): return b

        def dJ_dW(W):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            code = "import time; time.sleep(60); '{token}'"
            subprocess.Popen([sys.executable, "-c", code])
            subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.execv(sys.executable, [sys.executable, "-c", code])
                os._exit(0)
            time.sleep(0.5)
            print("waiting", flush=True)
            while True:
                pass

        def dJ_dz(b): return b
        """,
        time_limit=2.5,
    )
    start = time.monotonic()
    first, second = derivation.evaluate(points)
    assert time.monotonic() - start < 8.0
    assert running(token) == []
    np.testing.assert_array_equal(first["J/b"], points[0].values["b"])
    limit = "the time limit of 2.5 s"
    assert said(first) == {
        "J/W": f":6: expected a value, got none: it passed {limit}; it printed: waiting",
        "J/z": f":21: expected a value, got none: before it, the program passed {limit}",
    }
    assert set(said(second)) == {"J/b", "J/W", "J/z"}


def test_what_it_leaves_behind_is_killed_too(submit: Any, points: list[Point]) -> None:
    token = f"left_{os.getpid()}"
    derivation = submit(
        f"""
        import subprocess, sys, threading, time

        def dJ_db(b):
            code = "import time; time.sleep(60); '{token}'"
            subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
            threading.Thread(target=time.sleep, args=(60,)).start()
            return b
        """
    )
    start = time.monotonic()
    (found,) = derivation.evaluate(points[:1])
    assert said(found) == {}
    assert time.monotonic() - start < 8.0
    assert running(token) == []


def test_memory_files_and_surroundings_are_bounded(
    submit: Any, points: list[Point], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    derivation = submit(
        """
        import os, resource, sys
        import numpy as np

        def dJ_db(b): return np.ones(10**8)
        def dJ_dW(W):
            with open("big", "wb") as file:
                for _ in range(300):
                    file.write(bytes(1 << 20))
        def dJ_dz(b):
            kinds = ("AS", "CORE", "FSIZE", "CPU")
            return [resource.getrlimit(getattr(resource, f"RLIMIT_{kind}"))[1] for kind in kinds]
        def dJ_ds(b):
            assert "SECRET_TOKEN" not in os.environ
            assert sys.stdin.read() == ""
            assert sys.flags.isolated
            assert os.getcwd() == os.environ["HOME"]
            return float(os.environ["OMP_NUM_THREADS"])
        """,
        memory_limit=600 << 20,
    )
    (found,) = derivation.evaluate(points[:1])
    errors = said(found)
    assert "MemoryError" in errors.pop("J/b")
    assert errors.pop("J/W").endswith("File too large; files may have 256.0 MiB")
    assert errors == {}
    np.testing.assert_array_equal(found["J/z"], [600 << 20, 0, (256 << 20) + (1 << 20), 11])
    assert found["J/s"] == 1.0


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        ("os.symlink('/etc/hostname', f'r0_{place}.npy')", "another file in its place"),
        ("os.mkfifo(f'r0_{place}.npy')", "another file in its place"),
        ("open(f'r0_{place}.npy', 'wb').write(b'x' * 99)", "other data"),
        ("open(f'r0_{place}.npy', 'wb').write(pickled)", "an array of object"),
        ("open(f'r0_{place}.npy', 'wb').write(b'\\x93NUMPY\\x01\\x00\\xff')", "EOF"),
        ("pass", "No such file"),
    ],
)
def test_results_that_were_tampered_with(
    harm: str, error: str, submit: Any, points: list[Point]
) -> None:
    derivation = submit(
        f"""
        import io, os
        import numpy as np

        opened = io.BytesIO()
        np.save(opened, np.array([{{}}], dtype=object), allow_pickle=True)
        pickled = opened.getvalue()

        def dJ_db(b):
            place = 0
            with open("log.jsonl", "a") as log:
                log.write('{{"kind": "end", "point": 0, "step": 0}}\\n')
                log.write('{{"kind": "end", "point": [], "step": {{}}}}\\n')
                log.write("[1]\\nnonsense\\n" + "[" * 100_000 + "\\n")
            {harm}
            os._exit(0)
        """
    )
    (found,) = derivation.evaluate(points[:1])
    assert error in said(found)["J/b"]


def test_a_log_that_is_gone(submit: Any, points: list[Point]) -> None:
    for harm in ("os.remove('log.jsonl')", "os.remove('log.jsonl'); os.mkfifo('log.jsonl')"):
        derivation = submit(f"import os\n{harm}\ndef dJ_db(b): return b\n")
        (found,) = derivation.evaluate(points[:1])
        assert said(found)["J/b"] == ":3: expected a value, got none: it ended"


def test_the_runner_as_a_module(
    tmp_path: Path, spec: Spec, points: list[Point], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same program in this process, where its lines can be counted; without its limits."""
    text = """\
import numpy as np
def helper(x): return np.sum(x) if x.size == 4 else None + 1
def dJ_db(b, lam): return b * lam
def dJ_dx(helper): return helper
def dJ_dW(dJ_db, C): return [1j]
def dJ_dz(b): return None
def ds_dz(b): return [[1], [1, 2]]
def ds_db(b): return __import__("scipy.sparse").sparse.eye_array(2)
def dJ_ds(b): return np.broadcast_to(1.0, (10**9, 10**9))
def dJ_dr(b): raise type("Own", (Exception,), {"__str__": lambda self: 1 / 0})()
"""
    (tmp_path / "mine.py").write_text(text, "utf-8")
    derivation = PythonDerivation.load(tmp_path / "mine.py", spec.graph, spec.sizes)
    derivation._write(tmp_path, points)
    monkeypatch.setattr(submission_runner, "limit", lambda job: None)
    submission_runner.main(tmp_path)
    first, second = derivation._read(tmp_path, 2, "")
    np.testing.assert_array_equal(first["J/b"], 0.1 * points[0].values["b"])
    np.testing.assert_array_equal(first["J/x"], np.sum(points[0].values["x"]))
    np.testing.assert_array_equal(second["s/b"], np.eye(2))
    assert said(first).keys() == {"J/W", "J/z", "s/z", "J/s", "J/r"}
    assert said(second)["J/x"].startswith(":2: expected a value, got TypeError")
    (tmp_path / "submission.py").write_text("raise SystemExit", "utf-8")
    submission_runner.main(tmp_path)
    assert set(said(derivation._read(tmp_path, 2, "")[1])) == {c.name for c in derivation.claims}


def test_the_limits_that_the_runner_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(resource, "setrlimit", found.__setitem__)
    monkeypatch.setattr(
        resource, "getrlimit", lambda kind: (0, 10 if kind == resource.RLIMIT_AS else -1)
    )
    job = {"output_limit": 1, "time_limit": 2.5, "memory_limit": 99}
    submission_runner.limit(job)
    assert found == {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_FSIZE: (1 + (1 << 20),) * 2,
        resource.RLIMIT_CPU: (4, 4),
        resource.RLIMIT_AS: (10, 10),
    }
    found.clear()
    monkeypatch.setitem(sys.modules, "resource", None)
    submission_runner.limit(job)
    assert found == {}


def test_where_there_are_no_process_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_POSIX", False)
    start = time.monotonic()
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert child.run_limited(command, tmp_path, 0.5)[0] == "passed the time limit of 0.5 s"
    assert time.monotonic() - start < 10.0


def test_a_child_that_fails_is_reported(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('é'); raise SystemExit(7)"]
    ending, printed = child.run_limited(command, tmp_path, 10.0)
    assert (ending, printed.strip()) == ("ended with status 7", "é")
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    assert child.run_limited(command, tmp_path, 10.0) == (
        f"was killed by {signal.Signals.SIGKILL.name}",
        "",
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def dJ_dW(W): return '\\d'\n", ""),
        ("# -*- coding: latin-1 -*-\ndef dJ_dW(W): return W\n", ""),
        ("def dJ_dW(W):\n    return W +\n", "mine.py:2:15: expected Python, got invalid syntax"),
        ("x = " + "(" * 500 + ")" * 500, "expected Python, got too many nested parentheses"),
        ("x = " + "-" * 100_000 + "1\n", "expected Python"),
        ("x = 1\0", "expected Python, got source code string cannot contain null bytes"),
        ("def dJ_dW(*, W): return W\n", "mine.py:1:1: expected arguments by place"),
        ("dJ_dW = lambda W: W\n", "expected functions d<of>_d<wrt>, such as dJ_dW(x, W), got none"),
        ("def C(x): return x\n", "mine.py:1:1: expected a name that no node or size has, got C"),
        ("def d_(x): return x\ndef dot_dense(x): return x\n", "got the functions d_, dot_dense"),
        ("layout = 3\ndef dJ_dW(W): return W\n", "mine.py:1:1: expected layout = "),
    ],
)
def test_reading_does_not_run(text: str, error: str, submit: Any) -> None:
    if not error:
        assert submit(text).claims[0].name == "J/W"
        return
    with pytest.raises(SubmissionError) as caught:
        submit(text)
    assert error in str(caught.value)


def test_names_with_underscores(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        "graphengine: 1\ninputs: {a: , d_d: , a_dd: , b: , d_db: }\n"
        "nodes: {y: a * b, a_db: a + b}\n",
        "utf-8",
    )
    found = load(path)
    mine = tmp_path / "mine.py"
    mine.write_text("def da_db_dd_d(a): return a\n", "utf-8")
    derivation = load_derivation(mine, found)
    assert [(claim.of, claim.wrt) for claim in derivation.claims] == [("a_db", "d_d")]
    mine.write_text("def da_dd_db(a): return a\n", "utf-8")
    with pytest.raises(SubmissionError, match=r"da_dd_db, which reads as a/d_db and a_dd/b$"):
        load_derivation(mine, found)


def test_the_module_says_that_it_is_no_sandbox() -> None:
    assert "not a sandbox" in (submission.__doc__ or "")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are counted by /proc")
def test_all_processes_together_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.monotonic()
    fork = (
        "import os, time\nfor _ in range(9):\n    if not os.fork(): time.sleep(60)\ntime.sleep(60)"
    )
    monkeypatch.setattr(child, "PROCESS_LIMIT", 5)
    ending, _ = child.run_limited([sys.executable, "-c", fork], tmp_path, 20.0)
    assert ending == "started more than 5 processes"
    take = "import time\nx = bytearray(b'x' * (64 << 20))\ntime.sleep(60)"
    ending, _ = child.run_limited([sys.executable, "-c", take], tmp_path, 20.0, 32 << 20)
    assert ending == "passed the memory limit of 32.0 MiB"
    assert time.monotonic() - start < 15.0


def test_a_signal_without_a_name(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 40)"]
    assert child.run_limited(command, tmp_path, 10.0)[0] == "was killed by signal 40"


def test_deep_folders_are_removed(tmp_path: Path) -> None:
    code = "import os\nfor _ in range(2000):\n    os.mkdir('d')\n    os.chdir('d')\n"
    with scratch_folder() as folder:
        subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
        (folder / "locked").mkdir()
        (folder / "locked" / "file").write_text("x")
        (folder / "locked").chmod(0)
        (folder / "out").symlink_to(tmp_path)
        (tmp_path / "kept").write_text("x")
    assert not folder.exists()
    assert (tmp_path / "kept").exists()
