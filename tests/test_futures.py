"""torch.futures: values that other threads set."""

import threading

import pytest

from hookgrad.futures import Future, collect_all, wait_all


def test_a_future_has_its_value_once_it_is_set():
    future = Future()
    assert not future.done()
    with pytest.raises(RuntimeError, match="completed"):
        future.value()
    future.set_result(3)
    assert future.done() and future.value() == future.wait() == 3
    with pytest.raises(RuntimeError, match="can only be marked completed once"):
        future.set_result(4)


def test_wait_waits_for_another_thread():
    future = Future()
    thread = threading.Thread(target=lambda: future.set_result(5))
    thread.start()
    assert future.wait() == 5
    thread.join()


def test_an_exception_is_raised_where_the_value_is_asked_for():
    future = Future()
    with pytest.raises(AssertionError, match="not an Exception"):
        future.set_exception(3)
    future.set_exception(ValueError("lost"))
    assert future.done()
    for ask in (future.wait, future.value):
        with pytest.raises(ValueError, match="lost"):
            ask()
    assert future.then(lambda f: 7).wait() == 7
    with pytest.raises(RuntimeError, match="error when running the callback: ValueError: lost"):
        future.then(lambda f: f.value()).wait()


def test_callbacks_run_in_their_order_and_at_once_where_it_is_complete(capsys):
    future, seen = Future(), []
    later = future.then(lambda f: f.value() + 1).then(lambda f: f.value() + 1)
    future.add_done_callback(lambda f: seen.append(f.value()))
    future.add_done_callback(lambda f: 1 / 0)
    future.add_done_callback(lambda f: seen.append("last"))
    future.set_result(1)
    assert later.wait() == 3 and seen == [1, "last"]
    assert "ZeroDivisionError" in capsys.readouterr().err
    future.add_done_callback(lambda f: seen.append("late"))
    assert seen[-1] == "late"
    with pytest.raises(TypeError, match="then()"):
        future.then(3)


def test_several_futures_are_waited_for_together():
    a, b = Future(), Future()
    both = collect_all([a, b])
    a.set_result(1)
    assert not both.done()
    b.set_result(2)
    assert [f.value() for f in both.wait()] == wait_all([a, b]) == [1, 2]
    assert collect_all([]).wait() == wait_all([]) == []
    failed, open_ = Future(), Future()
    failed.set_exception(ValueError("lost"))
    waiting = collect_all([failed, open_])
    assert not waiting.done()
    open_.set_result(0)
    for ask in (waiting.wait, lambda: wait_all([failed, open_])):
        with pytest.raises(ValueError, match="lost"):
            ask()


def test_a_futures_devices_have_numbers():
    assert not Future(devices=[]).done()
    with pytest.raises(ValueError, match="Expected devices to have indices"):
        Future(devices=["cpu"])
