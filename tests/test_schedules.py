"""Schedules of learning rates, and averaged models. Every number here is PyTorch's."""

import pickle

import pytest

import hookgrad as torch
from hookgrad import nn, optim
from hookgrad.optim import lr_scheduler as lrs
from hookgrad.optim import swa_utils

# A schedule that starts at 0.5, and the rates of the first eight epochs.
RATES = [
    ("LambdaLR(o, lambda epoch: 0.9**epoch)", [0.5, 0.45, 0.405, 0.3645, 0.32805, 0.295245, 0.2657205, 0.23914845]),
    ("MultiplicativeLR(o, lambda epoch: 1 - epoch / 10)", [0.5, 0.45, 0.36, 0.252, 0.1512, 0.0756, 0.03024, 0.009072]),
    ("StepLR(o, 3)", [0.5, 0.5, 0.5, 0.05, 0.05, 0.05, 0.005, 0.005]),
    ("MultiStepLR(o, [2, 5, 5], gamma=0.5)", [0.5, 0.5, 0.25, 0.25, 0.25, 0.0625, 0.0625, 0.0625]),
    ("ConstantLR(o, 0.3, 4)", [0.15, 0.15, 0.15, 0.15, 0.5, 0.5, 0.5, 0.5]),
    ("LinearLR(o, total_iters=4)", [0.1666666667, 0.25, 0.3333333333, 0.4166666667, 0.5, 0.5, 0.5, 0.5]),
    ("ExponentialLR(o, 0.9)", [0.5, 0.45, 0.405, 0.3645, 0.32805, 0.295245, 0.2657205, 0.23914845]),
    ("CosineAnnealingLR(o, 3, eta_min=0.01)", [0.5, 0.3775, 0.1325, 0.01, 0.1325, 0.3775, 0.5, 0.3775]),
    (
        "SequentialLR(o, [S.ConstantLR(o, 0.1, 2), S.ExponentialLR(o, 0.9)], [3])",
        [0.05, 0.05, 0.5, 0.5, 0.45, 0.405, 0.3645, 0.32805],
    ),
    (
        "OneCycleLR(o, 0.8, 8)",
        [0.032, 0.6554200839, 0.7775534219, 0.6493965232, 0.4447872113, 0.2264487986, 0.06131327507, 3.2e-06],
    ),
    (
        "OneCycleLR(o, 0.8, 8, three_phase=True, anneal_strategy='linear')",
        [0.032, 0.5805714286, 0.4708571429, 0.03047634286, 0.02285805714, 0.01523977143, 0.007621485714, 3.2e-06],
    ),
]


@pytest.mark.parametrize("schedule, rates", RATES, ids=[case[0] for case in RATES])
def test_schedules(schedule, rates):
    o = optim.SGD([nn.Parameter(torch.ones(1))], lr=0.5, momentum=0.9)
    scheduler = eval(f"S.{schedule}", {"S": optim.lr_scheduler, "o": o})
    seen = []
    for _ in range(8):
        seen.append(o.param_groups[0]["lr"])
        assert scheduler.get_last_lr() == [seen[-1]]
        o.step()
        scheduler.step()
    assert seen == pytest.approx(rates, rel=1e-9)


def test_reduce_on_plateau():
    o = optim.SGD([torch.ones(1)], lr=0.5)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(o, patience=1, cooldown=1)
    rates = []
    for measure in (3, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2):
        o.step()
        scheduler.step(measure)
        rates.append(scheduler.get_last_lr()[0])
    assert rates == pytest.approx(
        [
            0.5,
            0.5,
            0.5,
            0.05,
            0.05,
            0.05,
            0.005000000000000001,
            0.005000000000000001,
            0.005000000000000001,
            0.0005000000000000001,
            0.0005000000000000001,
        ]
    )


def test_a_schedule_goes_on_from_its_state():
    o = optim.SGD([torch.ones(1)], lr=0.5)
    scheduler = optim.lr_scheduler.StepLR(o, 2)
    o.step()
    scheduler.step()
    state = scheduler.state_dict()
    assert "optimizer" not in state
    assert state["last_epoch"] == 1
    other = optim.lr_scheduler.StepLR(optim.SGD([torch.ones(1)], lr=0.5), 2)
    other.load_state_dict(state)
    other.optimizer.step()
    other.step()
    assert other.get_last_lr() == [0.05]
    resumed = optim.lr_scheduler.StepLR(o, 2, last_epoch=1)
    assert resumed.last_epoch == 2


def test_a_scheduler_stepped_first_warns():
    o = optim.SGD([torch.ones(1)], lr=0.5)
    scheduler = optim.lr_scheduler.StepLR(o, 2)
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        scheduler.step()


def test_a_rate_may_be_a_tensor():
    rate = torch.tensor(0.5)
    p = nn.Parameter(torch.ones(1))
    o = optim.SGD([p], lr=rate)
    scheduler = optim.lr_scheduler.ExponentialLR(o, 0.5)
    p.grad = torch.ones(1)
    o.step()
    assert p.item() == 0.5
    scheduler.step()
    assert rate.item() == 0.25


CYCLES = [
    (lambda o: lrs.CyclicLR(o, 0.01, 0.1, 3), [0.04, 0.07, 0.1, 0.07, 0.04, 0.01, 0.04]),
    (
        lambda o: lrs.CyclicLR(o, 0.01, 0.1, 2, 3, mode="triangular2"),
        [0.055, 0.1, 0.07, 0.04, 0.01, 0.0325, 0.055],
    ),
    (
        lambda o: lrs.CyclicLR(o, 0.01, 0.1, 3, mode="exp_range", gamma=0.5),
        [0.025, 0.025, 0.02125, 0.01375, 0.0109375, 0.01, 0.010234375],
    ),
    (
        lambda o: lrs.CosineAnnealingWarmRestarts(o, 2, 2, 0.01),
        [0.055, 0.1, 0.086819805, 0.055, 0.023180195, 0.1, 0.0965745790],
    ),
    (lambda o: lrs.PolynomialLR(o, 4, 2.0), [0.05625, 0.025, 0.00625, 0.0, 0.0, 0.0, 0.0]),
    (
        lambda o: lrs.ChainedScheduler([lrs.ConstantLR(o, 0.5, 2), lrs.ExponentialLR(o, 0.9)]),
        [0.045, 0.081, 0.0729, 0.06561, 0.059049, 0.0531441, 0.04782969],
    ),
    (lambda o: swa_utils.SWALR(o, 0.05, 4, "linear"), [0.0875, 0.075, 0.0625, 0.05, 0.05, 0.05, 0.05]),
]


@pytest.mark.parametrize("make, expected", CYCLES)
def test_rates_that_come_again_or_together(make, expected):
    optimizer = optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    scheduler = make(optimizer)
    rates = []
    for _ in expected:
        optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    assert rates == pytest.approx(expected, abs=1e-9)
    copied = optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    second = make(copied)
    second.load_state_dict(pickle.loads(pickle.dumps(scheduler.state_dict())))
    copied.load_state_dict(optimizer.state_dict())
    for s, o in ((scheduler, optimizer), (second, copied)):
        o.step()
        s.step()
    assert scheduler.get_last_lr() == second.get_last_lr()


def test_an_averaged_model_is_the_mean_of_all():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    averages = {
        "mean": swa_utils.AveragedModel(model),
        "running": swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5), use_buffers=True),
    }
    for value in (1.0, 2.0, 6.0):
        nn.init.constant_(model[0].weight, value)
        model(torch.tensor([[1.0], [3.0]]))
        for average in averages.values():
            average.update_parameters(model)
    assert averages["mean"].n_averaged == 3
    assert averages["mean"].module[0].weight.item() == 3.0
    assert torch.equal(averages["mean"].module[1].running_mean, model[1].running_mean)
    assert averages["running"].module[0].weight.item() == 3.75
    assert averages["running"].module[1].num_batches_tracked == 2  # of 1, 2 and 3, rounded down


def test_update_bn_takes_the_statistics_of_one_pass():
    model = nn.Sequential(nn.BatchNorm1d(1, momentum=0.3)).eval()
    swa_utils.update_bn([(torch.tensor([[1.0], [3.0]]), "label"), torch.tensor([[5.0], [7.0]])], model)
    assert model[0].running_mean.item() == 4.0
    assert model[0].running_var.item() == 2.0
    assert model[0].momentum == 0.3
    assert not model.training


def test_the_shapes_of_cycles_have_names():
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1, momentum=0.9)
    cyclic = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.2, mode="triangular2")
    assert cyclic._scale_fn_ref(3) == cyclic.scale_fn(3) == cyclic._triangular2_scale_fn(3) == 0.25
    cyclic = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.2, mode="exp_range", gamma=0.5)
    assert cyclic._scale_fn_ref(3) == cyclic.scale_fn(3) == 0.125
    one = torch.optim.lr_scheduler.OneCycleLR
    assert one._annealing_linear(1, 2, 0.25) == 1.25 and one._annealing_cos(1, 2, 0.5) == pytest.approx(1.5)
