"""What `import hookgrad` costs beside `import numpy`, each beyond starting Python: the median of fresh processes."""

import argparse
import statistics
import subprocess
import sys
import time

CODE = {"python": "pass", "hookgrad": "import hookgrad", "numpy": "import numpy"}


def measure(rounds: int) -> dict:
    """Seconds per start of each kind. The kinds alternate, so that a busy moment falls on all alike."""
    times = {name: [] for name in CODE}
    for i in range(rounds + 1):
        for name, code in CODE.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            if i > 0:  # the first round fills the file cache
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=float, help="fail when hookgrad costs more than this share of NumPy")
    parser.add_argument("--rounds", type=int, default=21)
    args = parser.parse_args()
    seconds = measure(args.rounds)
    ours, numpys = (seconds[name] - seconds["python"] for name in ("hookgrad", "numpy"))
    share = ours / numpys
    print(f"bare Python {seconds['python'] * 1e3:.1f} ms; import hookgrad {ours * 1e3:+.1f} ms; ", end="")
    print(f"import numpy {numpys * 1e3:+.1f} ms; share {share:.2f}")
    if args.limit is not None and share > args.limit:
        sys.exit(f"import hookgrad costs more than {args.limit} of import numpy")


if __name__ == "__main__":
    main()
