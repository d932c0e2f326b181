"""What `import hookgrad` costs beside `import numpy`, each beyond starting Python.

Processor time, the least of several fresh processes: what other programs do at the same time is not counted.
"""

import argparse
import os
import subprocess
import sys

CODE = {"python": "pass", "hookgrad": "import hookgrad", "numpy": "import numpy"}


def processor_time(code: str) -> float:
    process = subprocess.Popen([sys.executable, "-c", code])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{code!r} failed")
    return used.ru_utime + used.ru_stime


def measure(rounds: int) -> dict:
    """Seconds per start of each kind; the kinds alternate, so that a slow moment falls on all alike."""
    best = dict.fromkeys(CODE, float("inf"))
    for _ in range(rounds):
        for name, code in CODE.items():
            best[name] = min(best[name], processor_time(code))
    return best


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
