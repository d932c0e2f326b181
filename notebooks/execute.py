"""Executes the notebooks from scratch, each in a fresh kernel.

python notebooks/execute.py              into out/notebooks/; fails where a cell raises
python notebooks/execute.py --in-place   the same, and keeps the outputs in notebooks/
"""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "out" / "notebooks"


def execute(path: Path, to: Path) -> None:
    start = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(HERE)}})
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of day at which cells ran
    to.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, to)
    n_pictures = sum(
        "image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])
    )
    print(f"{path.name}: {len(notebook.cells)} cells, {n_pictures} pictures, {time.perf_counter() - start:.0f} s")


def main() -> None:
    for path in sorted(HERE.glob("*.ipynb")):
        execute(path, path if "--in-place" in sys.argv[1:] else OUT / path.name)


if __name__ == "__main__":
    main()
