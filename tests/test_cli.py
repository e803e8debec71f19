"""The command line, as a user meets it."""

from __future__ import annotations

import ast
import json
import keyword
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from click.testing import CliRunner, Result

from graphengine.check.points import sample
from graphengine.cli import main
from graphengine.spec import load

ROOT = Path(__file__).parent.parent
SOFTMAX = str(ROOT / "specs" / "softmax_regression.yaml")

NET = """\
graphengine: 1
name: net
sizes: {C: 3, d: 2}
inputs: {x: {shape: [d]}}
parameters: {W: {shape: [C, d]}}
nodes:
  h: tanh(W @ x)
  J: sum(h**2)
result: J
"""


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return written(tmp_path / "net.yaml", NET)


def submission(folder: Path, claims: str) -> Path:
    return written(folder / "submission.yaml", f"derivation:\n  claims:\n{claims}")


RIGHT = "    J/h: 2 * h\n    J/W: outer(2 * h * (1 - h**2), x)\n"
WRONG = "    J/h: h\n"


class TestCheck:
    def test_the_main_job_prints_values_gradients_jacobians_and_verdicts(self) -> None:
        result = call("check", SOFTMAX)
        assert result.exit_code == 0, result.output
        for part in ("gradient", "nonzeros", "I₃ ⊗ xᵀ", "diag(p) − p pᵀ", "verdict", "J/W"):
            assert part in result.output
        assert "wrong" not in result.output

    def test_right_claims_exit_0_and_wrong_ones_1(self, net: Path) -> None:
        assert call("check", net, submission(net.parent, RIGHT)).exit_code == 0
        result = call("check", net, submission(net.parent, WRONG))
        assert result.exit_code == 1
        assert re.search(r"J/h +wrong", result.output)

    def test_json(self, net: Path) -> None:
        result = call("check", net, submission(net.parent, WRONG), "--json")
        data = json.loads(result.stdout)
        assert result.exit_code == 1
        assert data["verdict"] == "wrong"
        (claim,) = data["claims"]
        assert claim["claim"] == "J/h"
        assert claim["relative_error"] == pytest.approx(0.5)
        assert {"index", "claimed", "reference"} <= set(claim["worst"])

    def test_equal_seeds_give_equal_reports(self, net: Path) -> None:
        path = submission(net.parent, WRONG)
        first, again = (call("check", net, path, "--seed", "7", "--json").stdout for _ in "ab")
        assert first == again
        assert first != call("check", net, path, "--seed", "8", "--json").stdout

    def test_a_spec_without_claims_says_so(self, net: Path) -> None:
        result = call("check", net)
        assert result.exit_code == 2
        assert "derivation" in result.output

    def test_a_python_submission(self, net: Path) -> None:
        path = net.parent / "mine.py"
        path.write_text("def dJ_dh(h):\n    return 2 * h\n", "utf-8")
        result = call("check", net, path)
        assert result.exit_code == 0, result.output

    def test_files_for_other_programs(self, net: Path) -> None:
        junit, results = net.with_name("junit.xml"), net.with_name("results.json")
        path = submission(net.parent, WRONG)
        result = call("check", net, path, "--junit", junit, "--gradescope", results)
        assert result.exit_code == 1
        assert re.search(r"J/h +wrong", result.output)
        assert ET.parse(junit).find("testsuite/testcase/failure") is not None
        (test,) = json.loads(results.read_text("utf-8"))["tests"]
        assert (test["name"], test["status"]) == ("J/h", "failed")


class TestGrade:
    def test_a_folder(self, net: Path) -> None:
        folder = net.with_name("submissions")
        folder.mkdir()
        submission(folder, RIGHT).rename(folder / "anna.yaml")
        submission(folder, WRONG).rename(folder / "ben.yaml")
        out = net.with_name("out")
        result = call("grade", net, folder, "-o", out, "--jobs", "1", "--seed", "3")
        assert result.exit_code == 0, result.output
        assert "2 submissions, mean score 1 of 2" in result.output
        lines = (out / "grades.csv").read_text("utf-8").splitlines()
        assert lines[0] == "name,score,max,J/h,J/W,mistake,where,error,seconds"
        assert lines[1].startswith("anna,2,2,right,right,,,,")
        assert lines[2].startswith("ben,0,1,wrong,,")
        assert sorted(path.name for path in (out / "gradescope").iterdir()) == [
            "anna.json",
            "ben.json",
        ]

    def test_an_empty_folder(self, net: Path) -> None:
        (net.parent / "empty").mkdir()
        result = call("grade", net, net.parent / "empty")
        assert result.exit_code == 2
        assert result.output.startswith("error: ")
        assert "submissions" in result.output


class TestRun:
    def test_a_random_point_is_named_as_such(self, net: Path) -> None:
        result = call("run", net)
        assert result.exit_code == 0, result.output
        assert "random point (seed 0)" in result.output
        assert "h <- W" in result.output
        assert "h <- h.1" in call("run", net, "--all").output

    def test_values_from_yaml_and_npz(self, net: Path) -> None:
        W = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]
        text = net.parent / "values.yaml"
        text.write_text(f"x: [1, 2]\nW: {W}\n", "utf-8")
        packed = net.parent / "values.npz"
        np.savez(packed, x=[1.0, 2.0], W=W)
        outputs = [call("run", net, "--values", path, "--json") for path in (text, packed)]
        assert [result.exit_code for result in outputs] == [0, 0], outputs[0].output
        one, two = (json.loads(result.stdout)["nodes"] for result in outputs)
        assert one == two
        result = next(node for node in one if node["name"] == "J")
        assert result["value"] == pytest.approx(float(np.sum(np.tanh(np.dot(W, [1, 2])) ** 2)))

    def test_wrt_shows_these_alone(self, net: Path) -> None:
        data = json.loads(call("run", net, "--wrt", "W", "--json").stdout)
        assert [node["name"] for node in data["nodes"]] == ["W", "J"]
        assert {edge["parent"] for edge in data["edges"]} == {"W"}

    def test_unknown_wrt(self, net: Path) -> None:
        result = call("run", net, "--wrt", "w2")
        assert result.exit_code == 2
        assert "'w2'" in result.output

    def test_denominator_layout(self, net: Path) -> None:
        data = json.loads(call("run", net, "--layout", "denominator", "--json").stdout)
        shapes = {(edge["child"], edge["parent"]): edge["shape"] for edge in data["edges"]}
        assert shapes["h", "W"] == [6, 3]

    def test_numbers_that_json_lacks_become_text(self, net: Path) -> None:
        path = net.parent / "log.yaml"
        path.write_text(NET.replace("tanh(W @ x)", "log(W @ x)"), "utf-8")
        values = net.parent / "values.yaml"
        values.write_text("x: [0, 0]\nW: [[1, 1], [1, 1], [1, 1]]\n", "utf-8")
        result = call("run", path, "--values", values, "--json")
        node = next(n for n in json.loads(result.stdout)["nodes"] if n["name"] == "h")
        assert node["value"] == ["-inf"] * 3


class TestFlat:
    """The text runs by itself, in a process that knows nothing of this package."""

    RUNS = """
import sys
import numpy as np
sys.modules["graphengine"] = None
sys.path.insert(0, ".")
import flat
function = getattr(flat, sys.argv[1])
values = np.load("values.npz")
found = function(**{name: values[name] for name in function.__code__.co_varnames if name in values})
found = found if isinstance(found, tuple) else (found,)
np.savez("found.npz", *(one.toarray() if hasattr(one, "toarray") else one for one in found))
"""

    def run(self, folder: Path, function: str, values: dict[str, object]) -> list[np.ndarray]:
        np.savez(folder / "values.npz", **values)
        command = [sys.executable, "-I", "-W", "error", "-c", self.RUNS, function]
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = np.load(folder / "found.npz")
        return [found[name] for name in found]

    @pytest.mark.parametrize("reuse", [False, True])
    @pytest.mark.parametrize("name", ["softmax_regression", "iris", "gates_sigmoid_chain"])
    def test_the_result_and_the_gradients_of_all_parameters(
        self, name: str, reuse: bool, tmp_path: Path
    ) -> None:
        path = ROOT / "specs" / f"{name}.yaml"
        result = call("flat", path, "-o", tmp_path / "flat.py", *["--reuse"] * reuse)
        assert (result.exit_code, result.output) == (0, "")
        spec = load(path)
        graph, values = spec.graph, sample(spec.graph, seed=3)
        function = re.findall(r"^def ([a-z]\w*)\(", (tmp_path / "flat.py").read_text("utf-8"), re.M)
        got = self.run(tmp_path, function[-1], values)
        run = graph.run(values)
        parameters = [node for node in graph.starts if node.role == "parameter"]
        want = [run.value(graph.result_node), *map(run.gradient, parameters)]
        assert len(got) == len(want) > 1
        for one, other in zip(got, want, strict=True):
            assert one == pytest.approx(other, rel=1e-12)

    def test_wrt(self, net: Path) -> None:
        text = call("flat", net, "--wrt", "x,h", "--wrt", "W").stdout
        assert "return (J, grad_x, grad_h, grad_W)" in text

    @pytest.mark.parametrize("wrt", ["W", "W,x"])
    def test_jacobian(self, wrt: str, net: Path) -> None:
        values = {"x": [1.0, 2.0], "W": np.arange(6.0).reshape(3, 2) / 10}
        result = call("flat", net, "-o", net.with_name("flat.py"), "--jacobian", "h", wrt)
        assert result.exit_code == 0, result.output
        got = self.run(net.parent, "net", values)
        run = load(net).graph.run(values)
        for one, name in zip(got, wrt.split(","), strict=True):
            assert one == pytest.approx(run.jacobian("h", name).toarray(), rel=1e-12)

    def test_a_result_that_is_no_number_is_returned_alone(self, net: Path) -> None:
        net.write_text(
            NET.replace("result: J", "result: h").replace("  J: sum(h**2)\n", ""), "utf-8"
        )
        assert "return h\n" in call("flat", net).stdout
        result = call("flat", net, "--wrt", "W")
        assert result.exit_code == 2
        assert result.output.startswith("error: gradient of 'h': expected a node with one entry")

    def test_standard_output_is_the_file(self, net: Path) -> None:
        out = net.with_name("out.py")
        call("flat", net, "-o", out)
        assert call("flat", net).stdout == out.read_text("utf-8")

    def test_a_file_is_replaced_by_force_alone(self, net: Path) -> None:
        out = net.with_name("mine.py")
        out.write_text("mine", "utf-8")
        result = call("flat", net, "-o", out)
        assert result.exit_code == 2
        assert "mine.py is there; --force replaces it" in result.output
        assert out.read_text("utf-8") == "mine"
        assert call("flat", net, "-o", out, "--force").exit_code == 0
        assert out.read_text("utf-8").startswith('"""net: flat code."""')

    def test_the_spec_is_never_replaced(self, net: Path) -> None:
        for force in ([], ["--force"]):
            result = call("flat", net, "-o", net, *force)
            assert result.exit_code == 2
            assert "is the spec itself" in result.output
        assert net.read_text("utf-8") == NET

    def test_nothing_is_written_where_something_is_wrong(self, net: Path) -> None:
        for args in (
            ["--wrt", "w"],
            ["--jacobian", "h", "w"],
            ["--jacobian", "h", ","],
            ["--jacobian", "H", "W"],
            ["--jacobian", "h", "W", "--wrt", "W"],
            ["--wrt", "W,W"],
        ):
            result = call("flat", net, "-o", net.with_name("out.py"), *args)
            assert result.exit_code == 2, args
            assert re.search("(?m)^[Ee]rror: ", result.output), args
            assert "Traceback" not in result.output
        result = call("flat", net, "-o", net.parent / "nowhere" / "out.py")
        assert result.exit_code == 2
        assert (
            result.output
            == f"error: {net.parent / 'nowhere' / 'out.py'}: No such file or directory\n"
        )
        assert list(net.parent.iterdir()) == [net]

    @pytest.mark.parametrize(
        "name",
        [
            '\'""")\\nraise SystemExit(7)\\n("""\'',
            '"\\"\\"\\"\\nimport os\\nos.abort()\\n\\"\\"\\""',
            "'a \\ at the end \\'",
            "'日本 # ﬁne'",
            "'__import__(''os'').abort()'",
            "'0'",
            "'def'",
        ],
    )
    def test_text_of_a_spec_reaches_it_as_words_alone(self, name: str, net: Path) -> None:
        net.write_text(NET.replace("name: net", f"name: {name}\nabout: {name}"), "utf-8")
        plain = ast.parse(call("flat", written(net.with_name("plain.yaml"), NET)).stdout)
        title = load(net).name
        result = call("flat", net, "-o", net.with_name("flat.py"))
        assert result.exit_code == 0, result.output
        tree = ast.parse(net.with_name("flat.py").read_text("utf-8"))
        function = tree.body[-1]
        assert isinstance(function, ast.FunctionDef)
        assert function.name.isidentifier()
        assert not keyword.iskeyword(function.name)
        inner = [ast.dump(one) for one in (*tree.body[1:-1], *function.body)]
        expected = plain.body[-1]
        assert isinstance(expected, ast.FunctionDef)
        assert inner == [ast.dump(one) for one in (*plain.body[1:-1], *expected.body)]
        words = set(re.findall(r"\w+", ast.get_docstring(tree) or ""))
        assert words == {*re.findall(r"\w+", title), "flat", "code"}
        values = {"x": [1.0, 2.0], "W": np.ones((3, 2))}
        value, _ = self.run(net.parent, function.name, values)
        assert value == pytest.approx(3 * np.tanh(3) ** 2)


class TestTables:
    def test_ops(self) -> None:
        result = call("ops")
        assert result.exit_code == 0
        assert "softmax" in result.output
        rows = json.loads(call("ops", "--json").stdout)
        assert {"family", "call", "about"} == set(rows[0])

    def test_schema_is_a_json_schema(self) -> None:
        schema = json.loads(call("schema").stdout)
        assert schema["type"] == "object"
        assert "nodes" in schema["properties"]

    @pytest.mark.parametrize("args", [["ops"], ["run", SOFTMAX], ["check", SOFTMAX]])
    def test_output_fits_a_terminal_without_colour(self, args: list[str]) -> None:
        output = call(*args).output
        assert max(map(len, output.splitlines())) <= 100
        assert "\x1b" not in output


class TestErrors:
    @pytest.mark.parametrize("command", ["run", "check"])
    def test_a_missing_file(self, command: str) -> None:
        result = call(command, "nowhere.yaml")
        assert result.exit_code == 2
        assert "nowhere.yaml" in result.output

    def test_a_bad_spec_is_one_line_with_its_place(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.yaml"
        path.write_text(NET.replace("tanh(W @ x)", "tahn(W @ x)"), "utf-8")
        result = call("check", path)
        assert result.exit_code == 2
        assert re.match(r"error: .*bad\.yaml:7:6: .*did you mean 'tanh'\?\n$", result.output)

    def test_no_traceback_from_a_real_process(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.yaml"
        path.write_text("[" * 5000, "utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "graphengine", "check", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("error: ")

    def test_a_folder_in_place_of_a_file(self, tmp_path: Path) -> None:
        result = call("run", tmp_path)
        assert result.exit_code == 2
        assert "Traceback" not in result.output


class TestStart:
    def test_help_and_version_do_not_wait_for_numpy(self) -> None:
        code = (
            "import sys; from graphengine.cli import main\n"
            "for flag in ('--help', '--version'):\n"
            "    try: main([flag])\n"
            "    except SystemExit: pass\n"
            "heavy = {'numpy', 'scipy', 'networkx', 'yaml', 'rich'} & set(sys.modules)\n"
            "assert not heavy, heavy"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "check" in done.stdout
        assert re.search(r"graphengine \d+\.\d+\.\d+", done.stdout)
