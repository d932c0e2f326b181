import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent

if "HOOKGRAD_SANITIZED" in os.environ:
    # AddressSanitizer's allocator does not survive a fork while another thread holds its lock, as one does that ends.
    os.register_at_fork(before=lambda: time.sleep(0.1))


def pytest_report_header(config):
    import hookgrad

    return f"hookgrad {hookgrad.__version__} from {Path(hookgrad.__file__).parent}"


@pytest.fixture(scope="session", autouse=True)
def warnings_come_each_time():
    """Those that come once in a process, too: a test does not depend on those before it."""
    import hookgrad

    hookgrad.set_warn_always(True)


@pytest.fixture
def run_python(tmp_path):
    """Run this Python with arguments, in an empty directory, and give what it printed and how it ended."""

    def run(*args, cwd=tmp_path, env=None, **options):
        return subprocess.run(
            [sys.executable, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=300,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}, **options,
        )  # fmt: skip

    return run


@pytest.fixture
def run_script(tmp_path, run_python):
    """Run source code as a PyTorch script with hookgrad in torch's place."""

    def run(source, *args):
        script = tmp_path / "script.py"
        script.write_text(source)
        return run_python("-m", "hookgrad", script, *args)

    return run
