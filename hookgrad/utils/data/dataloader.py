"""Batches from a dataset, fetched in this process or by workers."""

import itertools
import os
import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Generic

from ._utils.fetch import _DatasetKind
from .collate import default_collate, default_convert
from .dataset import IterableDataset
from .sampler import _T, BatchSampler, RandomSampler, SequentialSampler, _draw_seed, _InfiniteConstantSampler

_collate_fn_t = Callable[[list[Any]], Any]
_JOIN = 5.0  # seconds that a worker is given to end by itself


def get_worker_info():
    """What a worker process of a loader knows of itself, a WorkerInfo; None in any other process.

    It has `id`, `num_workers`, `seed` and `dataset`, the worker's own copy of the dataset.

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.get_worker_info
    """
    worker = sys.modules.get(f"{__package__}._utils.worker")
    return None if worker is None else worker._worker_info


def _check_workers(num_workers, timeout, prefetch_factor, persistent_workers):
    if num_workers < 0:
        raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing.let num_workers > 0 to enable "
            "multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_samplers(dataset, batch_size, shuffle, sampler, batch_sampler, drop_last):
    if isinstance(dataset, IterableDataset):
        for name, value in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
            if value is not None:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
                )
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
            )
    elif batch_size is None and drop_last:
        raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")


class DataLoader(Generic[_T]):
    """Goes through a dataset in batches.

    `shuffle` takes the samples in random order, `sampler` or `batch_sampler` in an order of one's own; `drop_last`
    leaves out a last batch that is smaller; `collate_fn` makes a batch of a list of samples; `batch_size=None` gives
    single samples. With `num_workers` that many processes fetch the batches, each `prefetch_factor` of them ahead; they
    are seeded from the default generator or from `generator`, call `worker_init_fn(id)` first, and with
    `persistent_workers` stay for the next pass. The batches come in the order of the sampler unless `in_order` is False.

    >>> import hookgrad as torch
    >>> from hookgrad.utils.data import TensorDataset
    >>> [x.tolist() for x, in DataLoader(TensorDataset(torch.arange(5)), batch_size=2)]
    [[0, 1], [2, 3], [4]]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader
    """

    __initialized = False

    def __init__(
        self,
        dataset,
        batch_size=1,
        shuffle=None,
        sampler=None,
        batch_sampler=None,
        num_workers=0,
        collate_fn=None,
        pin_memory=False,
        drop_last=False,
        timeout=0,
        worker_init_fn=None,
        multiprocessing_context=None,
        generator=None,
        *,
        prefetch_factor=None,
        persistent_workers=False,
        pin_memory_device="",
        in_order=True,
    ):
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        if num_workers > 0 and prefetch_factor is None:
            prefetch_factor = 2
        _check_samplers(dataset, batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size = None
        is_iterable = isinstance(dataset, IterableDataset)
        if sampler is None:
            if is_iterable:
                sampler = _InfiniteConstantSampler()
            else:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self._dataset_kind = _DatasetKind.Iterable if is_iterable else _DatasetKind.Map
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        self.collate_fn = collate_fn or (default_collate if self._auto_collation else default_convert)
        self.persistent_workers = persistent_workers
        self.__initialized = True
        self._IterableDataset_len_called = None  # what len() said last: a longer pass is warned of
        self._iterator = None
        self.check_worker_number_rationality()

    @property
    def multiprocessing_context(self):
        """How workers are started: None for Python's own way, or a context; it may be set to the name of one."""
        return self.__multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context):
        if context is not None:
            import multiprocessing

            given = f"multiprocessing_context={context!r}"
            if self.num_workers == 0:
                raise ValueError(
                    "multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
                    f"but got num_workers={self.num_workers}"
                )
            if isinstance(context, str):
                valid = multiprocessing.get_all_start_methods()
                if context not in valid:
                    raise ValueError(
                        f"multiprocessing_context option should specify a valid start method in {valid!r}, but got {given}"
                    )
                context = multiprocessing.get_context(context)
            if not isinstance(context, multiprocessing.context.BaseContext):
                raise TypeError(
                    "multiprocessing_context option should be a valid context object or a string specifying the start "
                    f"method, but got {given}"
                )
        self.__multiprocessing_context = context

    def __setattr__(self, name, value):
        if self.__initialized and name in _FIXED:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    @property
    def _auto_collation(self):
        return self.batch_sampler is not None

    @property
    def _index_sampler(self):
        return self.batch_sampler if self._auto_collation else self.sampler

    def _get_iterator(self):
        if self.num_workers == 0:
            return _SingleProcessDataLoaderIter(self)
        self.check_worker_number_rationality()
        return _MultiProcessingDataLoaderIter(self)

    def __iter__(self):
        if not (self.persistent_workers and self.num_workers > 0):
            return self._get_iterator()
        if self._iterator is None:
            self._iterator = self._get_iterator()
        else:
            self._iterator._reset(self)
        return self._iterator

    def __len__(self):
        if self._dataset_kind == _DatasetKind.Map:
            return len(self._index_sampler)
        size = self._IterableDataset_len_called = len(self.dataset)
        if self.batch_size is None:
            return size
        full, rest = divmod(size, self.batch_size)
        return full + bool(rest and not self.drop_last)

    def check_worker_number_rationality(self):
        """Warn when there would be more workers than processors."""
        n_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        if self.num_workers and n_processors and self.num_workers > n_processors:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our suggested max number of "
                f"worker in current system is {n_processors}, which is smaller than what this DataLoader is going to create. "
                "Please be aware that excessive worker creation might get DataLoader running slow or even freeze.",
                stacklevel=3,
            )


_FIXED = "batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"


class _BaseDataLoaderIter:
    """One pass through a loader."""

    def __init__(self, loader):
        self._dataset = loader.dataset
        self._dataset_kind = loader._dataset_kind
        self._auto_collation = loader._auto_collation
        self._drop_last = loader.drop_last
        self._index_sampler = loader._index_sampler
        self._num_workers = loader.num_workers
        self._timeout = loader.timeout
        self._collate_fn = loader.collate_fn
        self._persistent_workers = loader.persistent_workers
        self._pin_memory = False
        if loader.pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be used.",
                stacklevel=3,
            )
        # A sampler may draw when its pass begins, and a seed for workers is drawn even when there are none: PyTorch's order.
        self._sampler_iter = iter(self._index_sampler)
        self._base_seed = _draw_seed(loader.generator)
        self._num_yielded = 0
        self._IterableDataset_len_called = loader._IterableDataset_len_called

    def _reset(self, loader, first_iter=False):
        self._sampler_iter = iter(self._index_sampler)
        self._num_yielded = 0
        self._IterableDataset_len_called = loader._IterableDataset_len_called

    def __iter__(self):
        return self

    def _next_index(self):
        return next(self._sampler_iter)

    def _next_data(self):
        raise NotImplementedError

    def __next__(self):
        data = self._next_data()
        self._num_yielded += 1
        promised = self._IterableDataset_len_called
        if promised is not None and self._num_yielded > promised and self._dataset_kind == _DatasetKind.Iterable:
            warnings.warn(
                f"Length of IterableDataset {self._dataset} was reported to be {promised}(when accessing len(dataloader)), "
                f"but {self._num_yielded} samples have been fetched. ",
                stacklevel=2,
            )
        return data

    def __len__(self):
        return len(self._index_sampler)

    def __getstate__(self):
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")

    def _fetcher_settings(self):
        return self._dataset_kind, self._dataset, self._auto_collation, self._collate_fn, self._drop_last


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """A pass that fetches the batches itself."""

    def __init__(self, loader):
        super().__init__(loader)
        if self._timeout != 0:
            raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0")
        self._dataset_fetcher = _DatasetKind.create_fetcher(*self._fetcher_settings())

    def _next_data(self):
        return self._dataset_fetcher.fetch(next(self._sampler_iter))


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """A pass whose batches come from worker processes.

    Each worker has a queue of tasks and a connection for its answers, and answers in the order it was asked: so the next
    batch in order is the next answer of the worker that was given the oldest task, and no answer needs to be put aside.
    A worker that has died has closed its connection.
    """

    def __init__(self, loader):
        super().__init__(loader)
        self._prefetch_factor = loader.prefetch_factor
        if self._prefetch_factor <= 0:
            raise AssertionError("prefetch_factor must be greater than 0 for MultiProcessingDataLoaderIter")
        self._in_order = loader.in_order
        self._worker_init_fn = loader.worker_init_fn
        self._workers, self._index_queues, self._results = [], [], []
        self._start(loader.multiprocessing_context)
        self._reset(loader, first_iter=True)

    def _start(self, context):
        import multiprocessing

        from ._utils.worker import work

        context = context or multiprocessing.get_context()
        self._workers_done_event = context.Event()
        # Not __del__: in a cycle the queues and connections could be finalized before it is called.
        ends = self._workers, self._index_queues, self._results
        self._end = weakref.finalize(self, _end_workers, os.getpid(), self._workers_done_event, *ends)
        for worker_id in range(self._num_workers):
            tasks = context.Queue()
            tasks.cancel_join_thread()
            ours, theirs = context.Pipe(duplex=False)
            settings = self._fetcher_settings(), tasks, theirs, self._workers_done_event, self._base_seed
            worker = context.Process(
                target=work, args=(*settings, self._worker_init_fn, worker_id, self._num_workers), daemon=True
            )
            worker.start()
            theirs.close()
            self._workers.append(worker)
            self._index_queues.append(tasks)
            self._results.append(ours)

    def _reset(self, loader, first_iter=False):
        super()._reset(loader, first_iter)
        if not first_iter:
            self._resume()
        self._send_idx = 0
        self._tasks = {}  # the number of each task that is under way, oldest first -> its worker
        self._workers_status = [True] * self._num_workers  # whether it has more to give in this pass
        self._worker_queue_idx_cycle = itertools.cycle(range(self._num_workers))
        for _ in range(self._prefetch_factor * self._num_workers):
            self._try_put_index()

    def _resume(self):
        """Have every worker begin anew, and pass over what is left of a pass that was broken off."""
        from ._utils.worker import _ResumeIteration

        for tasks in self._index_queues:
            tasks.put(_ResumeIteration())
        for worker_id in range(self._num_workers):
            while not isinstance(self._receive(worker_id)[0], _ResumeIteration):
                pass

    def _try_put_index(self):
        """Give the next task to the next worker that has more to give, where there are both."""
        try:
            index = self._next_index()
        except StopIteration:
            return
        share = self._prefetch_factor * self._num_workers // max(sum(self._workers_status), 1)
        for worker_id in itertools.islice(self._worker_queue_idx_cycle, self._num_workers):
            if self._workers_status[worker_id]:
                if self._in_order or list(self._tasks.values()).count(worker_id) < share:
                    break
        else:
            return
        self._index_queues[worker_id].put((self._send_idx, index))
        self._tasks[self._send_idx] = worker_id
        self._send_idx += 1

    def _next_data(self):
        from ..._utils import ExceptionWrapper
        from ._utils.worker import _IterableDatasetStopIteration

        while True:
            for number, worker_id in list(self._tasks.items()):
                if not self._workers_status[worker_id]:
                    del self._tasks[number]  # a task that came after the end of that worker's data
            if not self._tasks:
                if not self._persistent_workers:
                    self._shutdown_workers()
                raise StopIteration
            number, data = self._receive(self._next_worker())
            worker_id = self._tasks.pop(number)
            if isinstance(data, _IterableDatasetStopIteration):
                self._workers_status[worker_id] = False
                self._try_put_index()
                continue
            self._try_put_index()
            if isinstance(data, ExceptionWrapper):
                data.reraise()
            return data

    def _next_worker(self):
        """Whose answer is next: that of the oldest task or, where order does not matter, the first to be there."""
        if self._in_order:
            return next(iter(self._tasks.values()))
        from multiprocessing.connection import wait

        busy = {self._results[worker_id]: worker_id for worker_id in self._tasks.values()}
        ready = wait(busy, self._timeout or None)
        return busy[ready[0]] if ready else next(iter(busy.values()))

    def _receive(self, worker_id):
        """The next answer of a worker: the number of the task and the batch."""
        results = self._results[worker_id]
        try:
            if self._timeout > 0 and not results.poll(self._timeout):
                raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
            return results.recv()
        except (EOFError, ConnectionError):
            worker = self._workers[worker_id]
            worker.join(_JOIN)
            code = worker.exitcode
            how = f" with exit code {code}" if code is None or code >= 0 else f": killed by signal {-code}"
            raise RuntimeError(f"DataLoader worker (pid(s) {worker.pid}) exited unexpectedly{how}") from None

    def _shutdown_workers(self):
        self._end()


def _end_workers(pid, done, workers, queues, connections):
    """End the workers of a pass: those that do not end by themselves in time are ended."""
    if pid != os.getpid():
        return  # this process was forked while the pass was under way: the workers are not its own
    done.set()
    for tasks, results in zip(queues, connections):
        tasks.put(None)
        results.close()
    for worker, tasks in zip(workers, queues):
        worker.join(_JOIN)
        tasks.close()
        if worker.exitcode == 0:  # a process forked while a thread ends can inherit a lock that nobody opens
            tasks._thread.join(_JOIN)
        if worker.is_alive():
            worker.terminate()
            worker.join(_JOIN)
