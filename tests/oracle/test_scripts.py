"""Scripts of the document's kind print the same under PyTorch and under hookgrad, to the character."""

import difflib
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))


def printed(*command):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *map(str, command)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command[-1]} under {command[0]}:\n{done.stdout[-500:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_prints_the_same(script):
    theirs, ours = printed(script), printed("-m", "hookgrad", script)
    difference = list(difflib.unified_diff(theirs.splitlines(), ours.splitlines(), "PyTorch", "hookgrad", lineterm=""))
    assert not difference, "\n".join(difference[:60])
