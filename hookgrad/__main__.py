"""`python -m hookgrad SCRIPT [ARGS]`: run an unmodified PyTorch script with hookgrad in torch's place.

    python -m hookgrad script.py ...     as `python script.py ...`
    python -m hookgrad -m package ...    as `python -m package ...`
    python -m hookgrad -c "code" ...     as `python -c "code" ...`
    python -m hookgrad - ...             as `python - ...`, the script coming from standard input

The script sees what plain Python would show it: its own `__main__`, sys.argv, sys.path, tracebacks and exit code.
"""

import builtins
import os
import sys
import types

USAGE = "usage: python -m hookgrad [-c CODE | -m MODULE | SCRIPT | -] [ARGS ...]"


def main() -> None:
    from hookgrad import _standin

    args = sys.argv[1:]
    if not args or args[0] in ("-h", "--help"):
        print(f"{USAGE}\n\n{__doc__}", end="", file=sys.stdout if args else sys.stderr)
        sys.exit(0 if args else 2)
    if args[0] in ("-c", "-m") and len(args) < 2:
        print(f"Argument expected for the {args[0]} option\n{USAGE}", file=sys.stderr)
        sys.exit(2)

    _standin.install()
    if args[0] == "-m":
        import runpy

        sys.argv = args[1:]
        as_script(lambda: runpy.run_module(args[1], run_name="__main__", alter_sys=True))
    elif args[0] == "-c":
        sys.argv = ["-c", *args[2:]]
        search_first("")
        as_script(lambda: execute(args[1].encode(), "<string>"))
    elif args[0] == "-":
        sys.argv = args
        search_first("")
        as_script(lambda: execute(sys.stdin.buffer.read(), "<stdin>"))
    else:
        run_file(args)


def run_file(args: list) -> None:
    path = os.path.abspath(args[0])
    sys.argv = args
    if os.path.isdir(path) or path.endswith((".zip", ".pyz")):
        import runpy

        as_script(lambda: runpy.run_path(path, run_name="__main__"))
        return
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        print(f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}", file=sys.stderr)
        sys.exit(2)
    search_first(os.path.dirname(os.path.realpath(path)))
    as_script(lambda: execute(source, path))


def search_first(directory: str) -> None:
    """Put the script's directory where `-m` left the current one; with -P Python itself leaves both out."""
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = directory


def execute(source: bytes, filename: str) -> None:
    """Run source as the module `__main__`, the one pickle and typing will find."""
    module = types.ModuleType("__main__")
    module.__builtins__ = builtins
    if not filename.startswith("<"):
        from importlib.machinery import SourceFileLoader

        module.__file__ = filename
        module.__cached__ = None
        module.__loader__ = SourceFileLoader("__main__", filename)
    sys.modules["__main__"] = module
    exec(compile(source, filename, "exec", dont_inherit=True), module.__dict__)


def as_script(run) -> None:
    """Let an exception end the process as it would end a plain script: reported without the frames that ran it."""
    try:
        run()
    except SystemExit:
        raise
    except BaseException as error:
        error.__traceback__ = script_frames(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        # Reported already. Raised again so that the interpreter finishes as for any uncaught exception: the exit
        # code is 1, or the signal's after an interrupt.
        sys.excepthook = lambda *_: None
        raise


def script_frames(tb):
    """The traceback without the frames that started the script and those that found a name missing."""
    while tb is not None and tb.tb_frame.f_code.co_filename in MACHINERY:
        tb = tb.tb_next
    last = tb
    while last is not None:
        if last.tb_next is not None and last.tb_next.tb_frame.f_code.co_filename == STANDIN:
            last.tb_next = None
        last = last.tb_next
    return tb


STANDIN = os.path.join(os.path.dirname(__file__), "_standin.py")
MACHINERY = (__file__, "<frozen runpy>", os.path.join(os.path.dirname(os.__file__), "runpy.py"))

if __name__ == "__main__":
    main()
