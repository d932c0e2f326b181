"""What holds for the package as a whole: layering, import, version, and rules the C sources keep."""

import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = sorted((ROOT / "csrc" / "core").glob("*.[ch]"))
HEADERS = sorted((ROOT / "csrc" / "include").rglob("*.*"))
BINDING = sorted((ROOT / "csrc" / "python").glob("*.[ch]"))
SOURCES = CORE + HEADERS + BINDING


def without_comments(path):
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.DOTALL)


def test_import_leaves_numpy_and_other_heavy_modules_alone(run_python):
    import hookgrad

    parent = Path(hookgrad.__file__).resolve().parent.parent
    heavy = {"numpy", "scipy_openblas32", "matplotlib", "typing", "inspect", "dataclasses", "re", "torch"}
    code = f"import sys; sys.path.insert(0, {str(parent)!r}); import hookgrad; print({heavy} & set(sys.modules))"
    assert run_python("-S", "-E", "-c", code).stdout == "set()\n"


def test_numpy_comes_with_the_first_array(run_python):
    code = """
import sys, hookgrad
x = hookgrad.ones(2)
print("numpy" in sys.modules)
x.numpy()
print("numpy" in sys.modules)
"""
    assert run_python("-c", code).stdout == "False\nTrue\n"


def test_version_is_the_same_everywhere():
    import hookgrad
    import hookgrad.version

    assert hookgrad.__version__ == hookgrad.version.__version__
    assert f"## {hookgrad.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("path", CORE + HEADERS, ids=lambda p: p.name)
def test_core_knows_neither_python_nor_numpy(path):
    assert not re.search(r"#\s*include\s*[<\"](Python\.h|numpy/|structmember\.h)", path.read_text())
    assert not re.search(r"\bPy[A-Z]\w+\s*\(", without_comments(path))


@pytest.mark.skipif(not shutil.which("c++"), reason="there is no C++ compiler")
def test_the_headers_are_those_of_a_program_in_cpp_too():
    source = '#include "hookgrad_malloc.h"\nint main() { return hg_t(nullptr).kind; }\n'
    command = ["c++", "-std=c++11", "-fsyntax-only", "-x", "c++", "-I", str(ROOT / "csrc" / "include"), "-"]
    assert subprocess.run(command, input=source, capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("path", BINDING, ids=lambda p: p.name)
def test_binding_keeps_its_objects_in_module_state(path):
    declared = re.search(r"^\s*static\s+PyObject\s*\*\s*\w+\s*(=\s*NULL\s*)?;", without_comments(path), re.MULTILINE)
    assert declared is None


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_sources_are_finished_and_readable(path):
    text = path.read_text()
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)
    assert "\t" not in text
    assert text.endswith("\n")


def test_every_op_has_one_row_and_a_unique_id():
    table = "\n".join(path.read_text() for path in HEADERS if path.suffix == ".def")
    rows = re.findall(r"^OP\((\w+)", table, re.MULTILINE)
    assert rows
    assert sorted(rows) == sorted(set(rows))


def test_a_wheel_compressed_by_zopfli_reads_back(run_python):
    pytest.importorskip("setuptools")
    code = """
import io, runpy, sys, zipfile, zlib
sys.argv = ["setup.py", "--name"]
setup = runpy.run_path("setup.py")["SmallZip"].open.__globals__
setup["zopfli"] = lambda data, numiterations: zlib.compress(data)
how = {"deflated.py": zipfile.ZIP_DEFLATED, "py.typed": zipfile.ZIP_DEFLATED, "stored.py": zipfile.ZIP_STORED}
data, file = {"deflated.py": b"pass" * 99, "py.typed": b"", "stored.py": b"pass" * 99}, io.BytesIO()
with setup["SmallZip"](file, "w") as wheel:
    for name in how:
        wheel.writestr(name, data[name], how[name])
with zipfile.ZipFile(file) as wheel:
    print({name: wheel.read(name) for name in wheel.namelist()} == data, wheel.getinfo("deflated.py").compress_size < 99)
"""
    assert run_python("-c", code, cwd=ROOT).stdout == "hookgrad\nTrue True\n"


def test_the_repository_carries_what_it_promises():
    for name in "LICENSE README.md CHANGELOG.md Makefile pyproject.toml docs/ARCHITECTURE.md .ci/run".split():
        assert (ROOT / name).stat().st_size > 0


def test_the_architecture_has_a_place_for_every_file_and_none_for_others():
    named = re.findall(r"`(?:[\w-]+/)*([\w*]+\.(?:c|py))`", (ROOT / "docs" / "ARCHITECTURE.md").read_text())
    own = [path.name for path in (ROOT / "hookgrad").glob("_[a-z]*.py")]
    sources = [path.name for path in CORE + BINDING if path.suffix == ".c"]
    assert [name for name in sources + own if not any(fnmatch(name, pattern) for pattern in named)] == []
    there = {path.name for folder in ("csrc", "hookgrad", "tests", "tools") for path in (ROOT / folder).rglob("*.*")}
    assert [pattern for pattern in named if not any(fnmatch(name, pattern) for name in there)] == []
