"""A process that fetches batches for a loader."""

from dataclasses import dataclass
from typing import Any

import hookgrad

from ...._utils import ExceptionWrapper
from ..dataloader import get_worker_info  # noqa: F401 (a name of this module)
from .fetch import _DatasetKind

_PARENT_CHECK = 5.0  # seconds after which a worker without work looks whether its parent lives
_worker_info = None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker knows of itself: its number, how many there are, its seed, and its copy of the dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: Any = None
    worker_method: Any = "multiprocessing"


@dataclass(frozen=True)
class _IterableDatasetStopIteration:
    """A worker's answer when its iterable dataset has come to its end."""

    worker_id: int


@dataclass(frozen=True)
class _ResumeIteration:
    """Asks a worker that persists to begin another pass; it answers with the same."""

    seed: Any = None


def seed_worker(base_seed, worker_id):
    """Seed torch, random and numpy as PyTorch seeds them in that worker; the seed of the first two."""
    import random

    import numpy

    seed = base_seed + worker_id
    random.seed(seed)
    hookgrad.manual_seed(seed)
    words = [worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    numpy.random.seed(numpy.random.SeedSequence(words).generate_state(4))
    return seed


def work(fetcher_settings, tasks, results, done, base_seed, init_fn, worker_id, num_workers):
    """What the process runs: answers each task, a number and what to fetch, with the number and the batch.

    `tasks` is a queue, `results` a connection. A None ends the work, a _ResumeIteration begins a new pass; once `done` is
    set, tasks are dropped. What fetching raises is sent as an ExceptionWrapper.
    """
    global _worker_info
    try:
        hookgrad.set_num_threads(1)
        seed = seed_worker(base_seed, worker_id)
        dataset = fetcher_settings[1]
        _worker_info = WorkerInfo(worker_id, num_workers, seed, dataset)
        failure, ended = None, False
        try:
            if init_fn is not None:
                init_fn(worker_id)
            fetcher = _DatasetKind.create_fetcher(*fetcher_settings)
        except Exception:
            failure = _failure(worker_id)
        while (task := _next_task(tasks)) is not None:
            if isinstance(task, _ResumeIteration):
                results.send((task, None))
                fetcher, ended = _DatasetKind.create_fetcher(*fetcher_settings), False
                continue
            if ended or done.is_set():
                continue
            number, index = task
            if failure is not None:
                answer, failure = failure, None
            else:
                try:
                    answer = fetcher.fetch(index)
                except Exception as error:
                    if isinstance(error, StopIteration) and fetcher_settings[0] == _DatasetKind.Iterable:
                        answer, ended = _IterableDatasetStopIteration(worker_id), True
                    else:
                        answer = _failure(worker_id)
            try:
                results.send((number, answer))
            except OSError:
                raise
            except Exception:  # what pickle refuses is told to the loader
                results.send((number, _failure(worker_id)))
            del answer, index, task
    except (KeyboardInterrupt, BrokenPipeError):
        pass  # the loader is gone, or going


def _failure(worker_id):
    return ExceptionWrapper(where=f"in DataLoader worker process {worker_id}")


def _next_task(tasks):
    """What the loader asks for next; None where it asks to end, or has died."""
    from multiprocessing import parent_process
    from queue import Empty

    while True:
        try:
            return tasks.get(timeout=_PARENT_CHECK)
        except Empty:
            if not parent_process().is_alive():
                return None
