"""torch.profiler: which ops and labels a profile lists, how they nest, and what is made of the list."""

import json

import hookgrad as torch
from hookgrad import nn
from hookgrad.profiler import ProfilerActivity, profile, record_function, schedule, tensorboard_trace_handler


def test_ops_and_labels_are_listed_and_nest():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    x = torch.ones(1, 2)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as prof, record_function("mine"):
        net(x)
    by_name = {event.name: event for event in prof.events()}
    assert {"mine", "aten::linear", "aten::addmm", "aten::relu"} <= set(by_name)
    assert by_name["aten::addmm"].cpu_parent is by_name["aten::linear"]
    assert by_name["aten::linear"].cpu_parent is by_name["mine"]
    assert by_name["aten::linear"].input_shapes[0] == [1, 2]
    assert by_name["mine"].cpu_time_total >= by_name["aten::linear"].cpu_time_total >= 0


def test_averages_count_calls_and_the_table_shows_them():
    x = torch.ones(2)
    with profile() as prof:
        for _ in range(3):
            x.sin()
    (average,) = prof.key_averages()
    assert average.key == "aten::sin" and average.count == 3
    table = prof.key_averages().table(sort_by="cpu_time_total", row_limit=5)
    assert "aten::sin" in table and "# of Calls" in table


def test_nothing_is_listed_outside():
    with profile() as prof:
        pass
    torch.ones(2).sin()
    with record_function("later"):
        torch.ones(1)
    assert prof.events() == []


def test_a_schedule_says_which_steps_are_recorded(tmp_path):
    ready = []
    plan = schedule(wait=1, warmup=1, active=2, repeat=1)
    with profile(schedule=plan, on_trace_ready=lambda p: ready.append((p.step_num, len(p.events())))) as prof:
        for _ in range(5):
            torch.ones(1)
            prof.step()
    assert ready == [(4, 2)]
    with profile(on_trace_ready=tensorboard_trace_handler(str(tmp_path), "worker")):
        torch.ones(1)
    (written,) = tmp_path.iterdir()
    assert [event["name"] for event in json.loads(written.read_text())["traceEvents"]] == ["aten::ones"]


def test_a_label_decorates_functions():
    @record_function("twice")
    def twice(x):
        return x * 2

    with torch.autograd.profiler.profile() as prof:
        twice(torch.ones(1))
        twice(torch.ones(1))
    assert {event.key: event.count for event in prof.key_averages()}["twice"] == 2


def test_the_table_has_pytorch_columns():
    with profile(record_shapes=True) as prof:
        nn.functional.relu(torch.ones(2, 3))
    averages = prof.key_averages()
    assert {event.key: event.count for event in averages}["aten::relu"] == 1
    words = averages.table(sort_by="self_cpu_memory_usage").splitlines()[1]
    assert words.split() == "Name Self CPU % Self CPU CPU total % CPU total CPU time avg # of Calls".split()
    shaped = prof.key_averages(group_by_input_shape=True).table()
    assert shaped.splitlines()[1].endswith("Input Shapes") and "[[2, 3]]" in shaped


def test_a_profile_that_is_off_is_none():
    with torch.autograd.profiler.profile(enabled=False) as prof:
        torch.ones(1)
    assert prof is None
