"""`make demo`: the thirteen examples one after another, then a picture of a convnet's activations."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "tests" / "examples").glob("[0-9]*.py"))


def heading(text: str) -> None:
    print(f"\n── {text} {'─' * max(3, 96 - len(text))}", flush=True)


def run(*args: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "hookgrad", *map(str, args)], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}\n{args[0]} failed")
    return done.stdout


def main() -> None:
    start = time.perf_counter()
    same = 0
    for path in EXAMPLES:
        about = path.read_text().splitlines()[0].lstrip("# ")
        heading(f"{path.stem}: {about}")
        printed = run(path)
        print(printed, end="")
        same += printed == (path.parent / "expected" / f"{path.stem}.txt").read_text()

    heading("A small convnet, its activations and gradients")
    place = ROOT / "out" / "activations.png"
    place.parent.mkdir(exist_ok=True)
    print(run(ROOT / "examples" / "activations.py", place), end="")

    heading("Done")
    print(f"{same} of {len(EXAMPLES)} examples printed what PyTorch 2.13 prints, character for character.")
    print(f"The picture is at {os.path.relpath(place)}. All of it took {time.perf_counter() - start:.0f} seconds.")
    if same != len(EXAMPLES):
        sys.exit(1)


if __name__ == "__main__":
    main()
