"""A process that has imported one library and runs cases, each in a fork of its own: fresh, and without a second import.

    python bench/worker.py LIBRARY       reads requests and writes answers, a line of JSON each

A request names a case and says on how many threads, for how long, and whether memory is counted; the answer has the seconds
one call takes, what the libraries are compared by, and the memory in bytes, or the words of what went wrong.
"""

import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback

from cases import CASES
from cases.growth import GROWTH

#: What a case may take, in seconds, before it counts as failed.
PATIENCE = 240


def best_of(call, now, seconds: float) -> float:
    """Seconds of one call: the best of many runs, each long enough for the clock and too short for others to disturb them all."""
    n = 1
    while True:
        start = now()
        for _ in range(n):
            call()
        took = now() - start
        if took >= seconds / 100:
            break
        n = max(n * 2, int(n * seconds / 80 / max(took, 1e-9)))
    best = took / n
    for _ in range(max(4, int(seconds / took)) if took < seconds else 1):
        start = now()
        for _ in range(n):
            call()
        best = min(best, (now() - start) / n)
    return best


def measure(call, now, seconds: float) -> float:
    """Seconds of what a call does: where that is little, the time of calling a function that does nothing is taken off."""
    took = best_of(call, now, seconds)
    return took if took > 1e-5 else max(took - best_of(lambda: None, now, seconds / 2), 1e-9)


def digest(value) -> list:
    """Numbers that differ where `value` does: of a tensor its shape, two means and a sample; of anything nested, in turn."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return [value]
    if isinstance(value, dict):
        return [number for key in value for number in digest(value[key])]
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in digest(item)]
    if not hasattr(value, "detach"):
        return [type(value).__name__]
    flat = value.detach().reshape(-1)
    # Some at a time: memory for looking at results would count as the case's own.
    doubles = (part.double() for part in flat.split(8192))
    sums = [(part.sum().item(), (part * part).sum().item()) for part in doubles]
    sample = flat[:: max(1, len(flat) // 50)].double().tolist() if len(flat) else []
    return [*value.shape, *(sum(column) / max(1, len(flat)) for column in zip(*sums)), *sample]


def anonymous_memory() -> tuple[int, int]:
    """Bytes of memory that no file stands behind: now, and (nearly) at most so far. Zeros where there is no /proc."""
    try:
        with open("/proc/self/status") as f:
            words = dict(line.split(":", 1) for line in f)
    except OSError:
        return 0, 0
    kib = {key: int(words[key].split()[0]) for key in ("RssAnon", "RssFile", "RssShmem", "VmHWM")}
    return kib["RssAnon"] * 1024, (kib["VmHWM"] - kib["RssFile"] - kib["RssShmem"]) * 1024


def run_case(torch, request: dict) -> dict:
    made = CASES[request["group"]][request["case"]](torch)
    call, value = made if isinstance(made, tuple) else (made, None)
    results = [call(), call()]
    answer = {"value": digest(value() if value else results)}
    del results
    # On several threads the time on the wall counts: what waiting threads burn is no work, and what they save is.
    now = time.process_time if request["threads"] == 1 else time.perf_counter
    answer["seconds"] = measure(call, now, request["seconds"])
    return answer


def run_growth(torch, request: dict) -> dict:
    """Seconds and bytes of one of the things the case deals with."""
    best, size = float("inf"), 0.0
    for _ in range(request["repeat"]):
        call, count = GROWTH[request["case"]].prepare(torch, request["n"])
        gc.collect()
        before = anonymous_memory()[0]
        start = time.process_time()
        alive = call()
        best = min(best, (time.process_time() - start) / count)
        size = max(size, (anonymous_memory()[0] - before) / count)
        del call, alive
    return {"seconds": best, "bytes": size}


def answer_in_fork(torch, request: dict) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(request["threads"])
    before = anonymous_memory()[0]
    try:
        answer = run_growth(torch, request) if "n" in request else run_case(torch, request)
        answer["peak"] = max(anonymous_memory()[1] - before, 0)
    except Exception as e:
        answer = {"error": "".join(traceback.format_exception_only(e)).strip().splitlines()[0]}
    print(json.dumps(answer), flush=True)


def warm_up(torch) -> None:
    """What a library loads at its first steps is loaded before it forks, so that no case pays for it."""
    layer, loss_fn = torch.nn.Linear(256, 256), torch.nn.CrossEntropyLoss()
    for make in (torch.optim.SGD, torch.optim.Adam):
        optimizer = make(layer.parameters(), lr=0.1)
        loss_fn(layer(torch.ones(64, 256)), torch.zeros(64, dtype=torch.int64)).backward()
        optimizer.step()


def main() -> None:
    torch = importlib.import_module(sys.argv[1])
    torch.set_num_threads(1)
    warm_up(torch)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.alarm(PATIENCE)
            answer_in_fork(torch, json.loads(line))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != 0:
            print(json.dumps({"error": f"ended by signal {-code}" if code < 0 else f"ended with {code}"}), flush=True)


if __name__ == "__main__":
    main()
