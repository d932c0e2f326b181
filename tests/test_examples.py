"""The document's thirteen examples, unmodified, print on hookgrad what PyTorch prints, to the character."""

from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("[0-9]*.py"))


def test_all_thirteen_are_here():
    assert len(EXAMPLES) == 13


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_prints_what_pytorch_prints(example, run_python):
    done = run_python("-m", "hookgrad", example)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout == (example.parent / "expected" / f"{example.stem}.txt").read_text()
