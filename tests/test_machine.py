"""What the process uses of the machine: the number of threads, threads at work together, and the memory of large tensors."""

import os
import subprocess
import sys
import threading

import pytest

import hookgrad as torch


@pytest.fixture(autouse=True)
def as_it_was():
    n = torch.get_num_threads()
    yield
    torch.set_num_threads(n)


def threads_under(**environment) -> int:
    clean = {k: v for k, v in os.environ.items() if k not in ("HOOKGRAD_NUM_THREADS", "OMP_NUM_THREADS")}
    code = "import hookgrad as torch; print(torch.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**clean, **environment})
    return int(done.stdout)


def processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def test_what_is_set_is_answered():
    for n in (1, 3, 2):
        torch.set_num_threads(n)
        assert torch.get_num_threads() == n


def test_the_default_is_the_number_of_processors():
    assert threads_under() == processors()


def test_the_environment_sets_the_number():
    assert threads_under(HOOKGRAD_NUM_THREADS="7") == 7
    assert threads_under(OMP_NUM_THREADS="1") == 1
    assert threads_under(OMP_NUM_THREADS="1,4") == 1
    assert threads_under(OMP_NUM_THREADS="1", HOOKGRAD_NUM_THREADS="2") == 2
    assert threads_under(OMP_NUM_THREADS="1000") == processors()
    assert threads_under(HOOKGRAD_NUM_THREADS="none") == processors()


@pytest.mark.parametrize("n", [0, -1, -(10**30)])
def test_the_number_is_positive(n):
    with pytest.raises(RuntimeError, match="set_num_threads expects a positive integer"):
        torch.set_num_threads(n)


@pytest.mark.parametrize("n", [1.0, "2", None, True])
def test_the_number_is_an_int(n):
    with pytest.raises(RuntimeError, match=f"set_num_threads expects an int, but got {type(n).__name__}"):
        torch.set_num_threads(n)


# ---- Several threads of Python ------------------------------------------------------------------------------------------


def test_threads_compute_large_tensors_at_once():
    torch.set_num_threads(2)
    wrong = []

    def work(k):
        a = torch.full((600_000,), float(k))
        for i in range(10):
            total = (a + i).exp() * 0 + a
            if not torch.equal(total, a):
                wrong.append((k, i))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_memory_is_exchanged_while_a_kernel_reads_it():
    """`x.data = ...` in one thread, x in an operation of another: each result is one or the other value."""
    x = torch.zeros(600_000)
    done = threading.Event()

    def exchange():
        for i in range(200):
            x.data = torch.full((600_000,), float(i % 2))
        done.set()

    thread = threading.Thread(target=exchange)
    thread.start()
    seen = set()
    while not done.is_set():
        y = x + 1
        seen.update((y[0].item(), y[-1].item()))
    thread.join()
    assert seen <= {1.0, 2.0}


def test_gradients_are_dropped_while_another_thread_accumulates():
    weight = torch.ones(400_000, requires_grad=True)
    done = threading.Event()

    def drop():
        while not done.is_set():
            weight.grad = None

    thread = threading.Thread(target=drop)
    thread.start()
    for _ in range(30):
        (weight * 2).sum().backward()
    done.set()
    thread.join()
    weight.grad = None
    (weight * 2).sum().backward()
    assert weight.grad.eq(2).all()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_computes():
    torch.set_num_threads(2)
    a = torch.ones(600_000)
    assert (a + a).sum().item() == 1_200_000
    child = os.fork()
    if child == 0:
        os._exit(0 if (a + a).sum().item() == 1_200_000 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# ---- Memory --------------------------------------------------------------------------------------------------------------


def test_memory_in_use_is_counted():
    torch.empty_cache()  # a larger block that waits would do
    before = torch.memory_stats()
    x = torch.zeros(1000, 1000)
    now = torch.memory_stats()
    assert 4_000_000 <= now["allocated_bytes.all.current"] - before["allocated_bytes.all.current"] <= 4_500_000
    assert now["allocation.all.current"] == before["allocation.all.current"] + 1
    assert now["allocation.all.allocated"] == before["allocation.all.allocated"] + 1
    del x
    after = torch.memory_stats()
    assert after["allocated_bytes.all.current"] == before["allocated_bytes.all.current"]
    assert after["allocated_bytes.all.peak"] >= now["allocated_bytes.all.current"]
    assert after["reserved_bytes.all.current"] >= after["allocated_bytes.all.current"]


def test_the_peak_can_be_set_back():
    x = torch.zeros(1000, 1000)
    del x
    torch.reset_peak_memory_stats()
    stats = torch.memory_stats()
    assert stats["allocated_bytes.all.peak"] == stats["allocated_bytes.all.current"]


def test_the_gradient_of_bags_takes_one_tensor_of_the_size_of_their_weight():
    bags = torch.nn.EmbeddingBag(20_000, 64, mode="mean", padding_idx=3)
    words, size = torch.arange(1000).view(50, 20), bags.weight.nbytes
    for _ in range(2):
        bags.zero_grad()
        before = torch.memory_stats()["allocated_bytes.all.current"]
        torch.reset_peak_memory_stats()
        bags(words).sum().backward()
        assert size <= torch.memory_stats()["allocated_bytes.all.peak"] - before < 1.5 * size
    assert bags.weight.grad[:4].sum(1).tolist() == pytest.approx([64 / 19] * 3 + [0])


def test_rows_are_picked_from_where_they_lie():
    table = torch.randn(20_000, 100)[:, :64]
    torch.empty_cache()
    torch.reset_peak_memory_stats()
    before = torch.memory_stats()["allocated_bytes.all.current"]
    rows = torch.nn.functional.embedding(torch.tensor([1, 19_999, 1]), table)
    assert torch.equal(rows, table[[1, 19_999, 1]])
    assert torch.memory_stats()["allocated_bytes.all.peak"] - before < 100_000


def test_the_cache_can_be_emptied():
    x = torch.zeros(1000, 1000)
    del x
    torch.empty_cache()
    stats = torch.memory_stats()
    assert stats["reserved_bytes.all.current"] == stats["allocated_bytes.all.current"]


def test_a_new_tensor_never_shares_memory_with_one_in_use():
    kept = [torch.full((3000,), float(i)) for i in range(20)]
    for i in range(0, 20, 3):
        kept[i] = None
    more = [torch.full((3000,), -1.0) for _ in range(20)]
    assert all(t is None or t.eq(i).all() for i, t in enumerate(kept))
    assert all(t.eq(-1).all() for t in more)
