"""Python's multiprocessing, under torch's name: tensors are copied from one process to another."""

import multiprocessing as _python

globals().update({name: getattr(_python, name) for name in _python.__all__})
__all__ = list(_python.__all__)
_strategy = ["file_descriptor"]


def get_all_sharing_strategies():
    """The ways to share tensors' memory that can be named: tensors are copied, whichever it is."""
    return {"file_descriptor", "file_system"}


def get_sharing_strategy():
    return _strategy[0]


def set_sharing_strategy(new_strategy):
    assert new_strategy in get_all_sharing_strategies()
    _strategy[0] = new_strategy


class ProcessRaisedException(Exception):
    """A process that `spawn` started has raised one: its traceback, the process's number and its id."""

    def __init__(self, msg, error_index, error_pid):
        super().__init__(msg)
        self.msg, self.error_index, self.pid = msg, error_index, error_pid


class ProcessExitedException(ProcessRaisedException):
    """It has ended otherwise, with an exit code that is not zero."""


def _run(fn, i, args, failure):
    try:
        fn(i, *args)
    except Exception:
        import sys
        from traceback import format_exc

        failure.put(format_exc())
        sys.exit(1)


class ProcessContext:
    """The processes that `start_processes` started."""

    def __init__(self, processes, failures):
        self.processes, self._failures = processes, failures

    def pids(self):
        return [process.pid for process in self.processes]

    def join(self, timeout=None, grace_period=None):
        """Wait until one ends; True where all have. One that failed ends the others, and is raised."""
        from multiprocessing.connection import wait

        running = {process.sentinel: process for process in self.processes if process.exitcode is None}
        for ended in wait(running, timeout) if running else ():
            running[ended].join()
        codes = [process.exitcode for process in self.processes]
        for i, code in enumerate(codes):
            if not code:
                continue
            for process in self.processes:
                process.terminate()
                process.join()
            kind, words = ProcessExitedException, f"process {i} terminated with exit code {code}"
            if not self._failures[i].empty():
                kind, words = ProcessRaisedException, f"\n\n-- Process {i} terminated with the following error:\n"
                words += self._failures[i].get()
            raise kind(words, i, self.processes[i].pid)
        return not any(code is None for code in codes)


def start_processes(fn, args=(), nprocs=1, join=True, daemon=False, start_method="spawn"):
    """Call `fn(i, *args)` in `nprocs` processes, and wait for them; without `join`, their ProcessContext."""
    context = _python.get_context(start_method)
    failures = [context.SimpleQueue() for _ in range(nprocs)]
    processes = [context.Process(target=_run, args=(fn, i, args, failures[i]), daemon=daemon) for i in range(nprocs)]
    for process in processes:
        process.start()
    started = ProcessContext(processes, failures)
    while join and not started.join():
        pass
    return None if join else started


spawn = start_processes
