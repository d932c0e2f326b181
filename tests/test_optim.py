"""Optimizers: steps to the last digits, what is saved, what is refused. Every number is PyTorch's."""

import copy
import gc
import pickle
import weakref

import pytest

import hookgrad as torch
from hookgrad import nn, optim
from hookgrad.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

# An optimizer, and a parameter of two numbers after four steps.
STEPS = [
    ("SGD", {"lr": 0.1}, [0.26200002, -2.7401345]),
    ("SGD", {"lr": 0.1, "momentum": 0.9}, [-0.63575, -3.6624811]),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, [-0.66736245, -4.9423661]),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "maximize": True}, [3.3071959, -1.545881]),
    ("Adam", {"lr": 0.1}, [0.6028353, -2.3978996]),
    ("Adam", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}, [0.60287434, -2.3963675]),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 0.1, "maximize": True}, [1.3926699, -1.7180723]),
    ("AdamW", {"lr": 0.1}, [0.59947717, -2.3894618]),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.5, "amsgrad": True}, [0.4483453, -2.0]),
    ("RMSprop", {"lr": 0.1}, [-0.24774335, -5.719821]),
    ("RMSprop", {"lr": 0.1, "centered": True, "momentum": 0.9, "weight_decay": 0.1}, [-1.2394816, -10.941594]),
    ("Adagrad", {"lr": 0.1}, [0.73307532, -2.3172851]),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.5}, [0.76401711, -2.2508607]),
    ("Adadelta", {"lr": 0.1}, [0.99869508, -2.0013065]),
    ("Adadelta", {"lr": 0.1, "rho": 0.5, "weight_decay": 0.1, "maximize": True}, [1.0006789, -1.9993213]),
    ("Adamax", {"lr": 0.1}, [0.62478453, -2.3425932]),
    ("Adamax", {"lr": 0.1, "betas": (0.5, 0.6), "eps": 0.1, "weight_decay": 0.1}, [0.60165244, -2.3345709]),
    ("NAdam", {"lr": 0.1}, [0.68378097, -2.3744106]),
    (
        "NAdam",
        {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "momentum_decay": 0.1},
        [0.65178382, -2.2819617],
    ),
    ("RAdam", {"lr": 0.1}, [0.15353702, -2.5508261]),
    ("RAdam", {"lr": 0.1, "betas": (0.9, 0.6), "weight_decay": 0.1}, [0.12724037, -2.4361246]),
    (
        "RAdam",
        {"lr": 0.1, "betas": (0.5, 0.99), "weight_decay": 0.1, "decoupled_weight_decay": True},
        [0.18271907, -2.4848003],
    ),
    ("ASGD", {"lr": 0.1}, [0.26198757, -2.7399564]),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "t0": 2, "weight_decay": 0.1}, [0.23267531, -2.4177005]),
    ("Rprop", {"lr": 0.1}, [0.46319997, -2.5367999]),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.001, 0.1), "maximize": True}, [1.4000001, -1.6999999]),
    ("Adafactor", {"lr": 0.1}, [0.42600086, -2.7636433]),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.1, "d": 2.0, "maximize": True}, [1.6112783, -1.7192729]),
]


def gradient_of(p):
    return torch.stack([p[0] * 2 + 0.5, p[1] * p[1] - 3.0]).detach()


@pytest.mark.parametrize("kind, settings, expected", STEPS, ids=[f"{c[0]}({c[1]})" for c in STEPS])
def test_four_steps(kind, settings, expected):
    p = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = getattr(optim, kind)([p], **settings)
    for _ in range(4):
        p.grad = gradient_of(p)
        assert optimizer.step() is None
    assert p.tolist() == pytest.approx(expected, rel=1e-6)
    assert p.is_leaf
    assert p.grad_fn is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_every_floating_dtype(kind, dtype):
    p = nn.Parameter(torch.tensor([1.0, -2.0], dtype=dtype))
    optimizer = getattr(optim, kind)([p], lr=0.5, **({"momentum": 0.5} if kind == "SGD" else {}))
    for _ in range(3):
        p.grad = torch.ones(2, dtype=dtype)
        optimizer.step()
    assert p.dtype == dtype
    assert (p < torch.tensor([1.0, -2.0], dtype=dtype)).all()
    for value in optimizer.state[p].values():
        assert value.dtype == (torch.float32 if value.dim() == 0 else dtype)


def test_strided_parameters_and_gradients():
    whole = torch.zeros(4, 2)
    p = nn.Parameter(whole.t())
    p.grad = torch.arange(8.0).reshape(2, 4)
    optim.SGD([p], lr=1.0).step()
    assert whole.t().tolist() == [[0.0, -1.0, -2.0, -3.0], [-4.0, -5.0, -6.0, -7.0]]


def test_parameters_without_gradient_stay():
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    for kind in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad"):
        optimizer = getattr(optim, kind)([a, b], lr=0.1)
        a.grad = torch.ones(1)
        optimizer.step()
        assert b.item() == 1.0
        assert kind == "Adagrad" or len(optimizer.state) <= 1


def test_a_step_changes_the_version_and_needs_no_graph():
    p = nn.Parameter(torch.ones(1))
    y = (p * p).sum()
    p.grad = torch.ones(1)
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@pytest.mark.parametrize(
    "kind, settings, versions",
    [
        ("SGD", {"momentum": 0.9}, {"momentum_buffer": 2}),
        ("Adam", {"amsgrad": True}, {"step": 2, "exp_avg": 2, "exp_avg_sq": 4, "max_exp_avg_sq": 2}),
        ("AdamW", {}, {"step": 2, "exp_avg": 2, "exp_avg_sq": 4}),
        ("Adamax", {}, {"step": 2, "exp_avg": 2, "exp_inf": 4}),
    ],
)
def test_a_step_counts_the_operations_that_pytorch_makes_of_it(kind, settings, versions):
    p = nn.Parameter(torch.ones(2))
    optimizer = getattr(optim, kind)([p], lr=0.1, **settings)
    for _ in range(2):
        p.grad = torch.ones(2)
        optimizer.step()
    assert {key: value._version for key, value in optimizer.state[p].items()} == versions
    assert p._version == (4 if kind == "AdamW" else 2)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "RMSprop", "Adamax"])
def test_state_made_in_inference_mode_is_not_changed_outside_of_it(kind):
    p = nn.Parameter(torch.ones(2))
    optimizer = getattr(optim, kind)([p], lr=0.1, **({"momentum": 0.9} if kind == "SGD" else {}))
    p.grad = torch.ones(2)
    with torch.inference_mode():
        optimizer.step()
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        optimizer.step()


def test_groups_have_settings_of_their_own():
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = optim.SGD([{"params": a, "lr": 0.5}, {"params": [b]}], lr=0.1, momentum=0.9)
    a.grad, b.grad = torch.ones(1), torch.ones(1)
    optimizer.step()
    assert a.item() == pytest.approx(0.5)
    assert b.item() == pytest.approx(0.9)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "momentum": 0.0})
    assert [group["momentum"] for group in optimizer.param_groups] == [0.9, 0.9, 0.0]
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert a.item() == pytest.approx(0.5)


def test_repr():
    optimizer = optim.SGD([{"params": torch.ones(2), "lr": 3}, {"params": [torch.ones(1)], "momentum": 0.5}])
    assert repr(optimizer) == (
        "SGD (\n"
        "Parameter Group 0\n"
        "    dampening: 0\n"
        "    differentiable: False\n"
        "    foreach: None\n"
        "    fused: None\n"
        "    lr: 3\n"
        "    maximize: False\n"
        "    momentum: 0\n"
        "    nesterov: False\n"
        "    weight_decay: 0\n"
        "\n"
        "Parameter Group 1\n"
        "    dampening: 0\n"
        "    differentiable: False\n"
        "    foreach: None\n"
        "    fused: None\n"
        "    lr: 0.001\n"
        "    maximize: False\n"
        "    momentum: 0.5\n"
        "    nesterov: False\n"
        "    weight_decay: 0\n"
        ")"
    )


def test_zero_grad():
    p = nn.Parameter(torch.ones(1))
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = grad = torch.ones(1)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is grad
    assert grad.item() == 0.0
    optimizer.zero_grad()
    assert p.grad is None


def test_closure_runs_with_gradients_on():
    p = nn.Parameter(torch.ones(1))
    optimizer = optim.SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 1.0
    assert p.item() == pytest.approx(0.8)


# ---- Saving and loading --------------------------------------------------------------------------------------------------


def test_state_dict_of_sgd():
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = optim.SGD([{"params": [a]}, {"params": [b]}], lr=0.1, momentum=0.9)
    b.grad = torch.tensor([2.0])
    optimizer.step()
    state = optimizer.state_dict()
    assert list(state) == ["state", "param_groups"]
    assert {k: v["momentum_buffer"].tolist() for k, v in state["state"].items()} == {1: [2.0]}
    assert state["param_groups"][1] == {
        "lr": 0.1,
        "momentum": 0.9,
        "dampening": 0,
        "weight_decay": 0,
        "nesterov": False,
        "maximize": False,
        "foreach": None,
        "differentiable": False,
        "fused": None,
        "params": [1],
    }
    assert list(state["param_groups"][1])[-1] == "params"


def test_state_dict_of_adam():
    p = nn.Parameter(torch.ones(1))
    optimizer = optim.Adam([p], lr=0.1, amsgrad=True)
    assert optimizer.state_dict()["state"] == {}
    p.grad = torch.tensor([2.0])
    optimizer.step()
    state = optimizer.state_dict()["state"][0]
    assert list(state) == ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
    assert repr(state["step"]) == "tensor(1.)"
    assert state["exp_avg"].item() == pytest.approx(0.2)
    assert state["exp_avg_sq"].item() == pytest.approx(0.004)
    assert list(optimizer.state_dict()["param_groups"][0]) == [
        "lr",
        "betas",
        "eps",
        "weight_decay",
        "amsgrad",
        "maximize",
        "foreach",
        "capturable",
        "differentiable",
        "fused",
        "decoupled_weight_decay",
        "params",
    ]


@pytest.mark.parametrize("kind, settings", [case[:2] for case in STEPS], ids=[f"{c[0]}({c[1]})" for c in STEPS])
def test_a_loaded_optimizer_goes_on_where_the_saved_one_stood(kind, settings):
    p = nn.Parameter(torch.tensor([1.0, -2.0]))
    first = getattr(optim, kind)([p], **settings)
    for _ in range(2):
        p.grad = gradient_of(p)
        first.step()
    q = nn.Parameter(p.detach().clone())
    second = getattr(optim, kind)([q], lr=9.0)
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    for _ in range(2):
        for param, optimizer in ((p, first), (q, second)):
            param.grad = gradient_of(param)
            optimizer.step()
    assert p.tolist() == q.tolist()
    assert second.param_groups[0]["lr"] == 0.1


def test_loaded_state_takes_the_dtype_of_the_parameter():
    p = nn.Parameter(torch.ones(1))
    first = optim.Adam([p])
    p.grad = torch.ones(1)
    first.step()
    q = nn.Parameter(torch.ones(1, dtype=torch.float64))
    second = optim.Adam([q])
    second.load_state_dict(first.state_dict())
    assert second.state[q]["exp_avg"].dtype == torch.float64
    assert second.state[q]["step"].dtype == torch.float32


def test_named_parameters():
    m = nn.Linear(1, 1)
    optimizer = optim.SGD(m.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.param_groups[0]["params"][0] is m.weight
    with pytest.raises(ValueError, match="all optimizer param groups should be with/without names"):
        optimizer.add_param_group({"params": [torch.ones(1)]})


def test_optimizers_can_be_copied():
    m = nn.Linear(1, 1)
    optimizer = optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
    m(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    twin = copy.deepcopy(optimizer)
    assert twin.param_groups[0]["params"][0] is not m.weight
    assert twin.state_dict()["state"].keys() == optimizer.state_dict()["state"].keys()
    twin.step()


# ---- Hooks -----------------------------------------------------------------------------------------------------------------


def test_step_hooks():
    log = []
    p = nn.Parameter(torch.ones(1))
    optimizer = optim.SGD([p], lr=0.1)
    handles = [
        optimizer.register_step_pre_hook(
            lambda o, args, kwargs: log.append(("pre", o is optimizer, len(args), kwargs))
        ),
        optimizer.register_step_post_hook(lambda o, args, kwargs: log.append(("post", len(args)))),
        register_optimizer_step_pre_hook(lambda o, args, kwargs: log.append("global pre")),
        register_optimizer_step_post_hook(lambda o, args, kwargs: log.append("global post")),
    ]
    optimizer.step(closure=None)
    assert log == ["global pre", ("pre", True, 1, {"closure": None}), ("post", 1), "global post"]
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(log) == 4
    optimizer.register_step_pre_hook(lambda *args: 3)
    with pytest.raises(RuntimeError, match=r"must return None or a tuple of \(new_args, new_kwargs\), but got 3"):
        optimizer.step()


def test_hooks_of_the_state_dict():
    log = []
    optimizer = optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    optimizer.register_state_dict_pre_hook(lambda o: log.append("save"))
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "more": 1})
    optimizer.register_load_state_dict_pre_hook(lambda o, state: log.append(sorted(state)))
    optimizer.register_load_state_dict_post_hook(lambda o: log.append("loaded"))
    optimizer.register_load_state_dict_post_hook(lambda o: log.append("first"), prepend=True)
    optimizer.load_state_dict(optimizer.state_dict())
    assert log == ["save", ["more", "param_groups", "state"], "first", "loaded"]


def test_an_optimizer_of_ones_own():
    class Fixed(optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": 0.5})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p -= group["lr"]

    seen = []
    p = nn.Parameter(torch.ones(1))
    optimizer = Fixed([p])
    optimizer.register_step_post_hook(lambda *args: seen.append(p.item()))
    optimizer.step()
    assert seen == [0.5]
    assert repr(optimizer) == "Fixed (\nParameter Group 0\n    lr: 0.5\n)"


def test_an_optimizer_dies_with_its_last_reference():
    p = nn.Parameter(torch.ones(1))
    optimizer = optim.Adam([p])
    p.grad = torch.ones(1)
    optimizer.step()
    buffer = weakref.ref(optimizer.state[p]["exp_avg"])
    watch = weakref.ref(optimizer)
    del optimizer
    gc.collect()
    assert watch() is None
    assert buffer() is None


# ---- Errors ------------------------------------------------------------------------------------------------------------------

WRONG = [
    ("optim.SGD([], lr=0.1)", ValueError, "optimizer got an empty parameter list"),
    (
        "optim.SGD(torch.ones(2), lr=0.1)",
        TypeError,
        "params argument given to the optimizer should be an iterable of Tensors or dicts, but got torch.FloatTensor",
    ),
    ("optim.SGD([3], lr=0.1)", TypeError, "optimizer can only optimize Tensors, but one of the params is int"),
    ("optim.SGD([torch.ones(2)], lr=-0.1)", ValueError, "Invalid learning rate: -0.1"),
    ("optim.SGD([torch.ones(2)], momentum=-1)", ValueError, "Invalid momentum value: -1"),
    ("optim.SGD([torch.ones(2)], weight_decay=-1)", ValueError, "Invalid weight_decay value: -1"),
    (
        "optim.SGD([torch.ones(2)], nesterov=True)",
        ValueError,
        "Nesterov momentum requires a momentum and zero dampening",
    ),
    ("optim.SGD([torch.ones(1, requires_grad=True) * 2])", ValueError, "can't optimize a non-leaf Tensor"),
    (
        "optim.SGD([{'params': {torch.ones(2)}}])",
        TypeError,
        "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets will "
        "change between runs. Please use a list instead.",
    ),
    ("optim.SGD([torch.ones(1)]).add_param_group(3)", TypeError, "param_group must be a dict, but got <class 'int'>"),
    (
        "o = optim.SGD([torch.ones(1)]); o.add_param_group({'params': o.param_groups[0]['params']})",
        ValueError,
        "some parameters appear in more than one parameter group",
    ),
    (
        "optim.SGD([torch.ones(1)]).load_state_dict({'state': {}, 'param_groups': []})",
        ValueError,
        "loaded state dict has a different number of parameter groups",
    ),
    (
        "optim.SGD([torch.ones(1)]).load_state_dict({'state': {}, 'param_groups': [{'params': [0, 1]}]})",
        ValueError,
        "loaded state dict contains a parameter group that doesn't match the size of optimizer's group",
    ),
    ("optim.Adam([torch.ones(2)], lr=-1)", ValueError, "Invalid learning rate: -1"),
    ("optim.Adam([torch.ones(2)], betas=(1.0, 0.9))", ValueError, "Invalid beta parameter at index 0: 1.0"),
    ("optim.Adam([torch.ones(2)], betas=(0.9, 1.5))", ValueError, "Invalid beta parameter at index 1: 1.5"),
    ("optim.Adam([torch.ones(2)], eps=-1)", ValueError, "Invalid epsilon value: -1"),
    ("optim.AdamW([torch.ones(2)], weight_decay=-1)", ValueError, "Invalid weight_decay value: -1"),
    ("optim.lr_scheduler.StepLR(3, 3)", TypeError, "int is not an Optimizer"),
    (
        "optim.lr_scheduler.LinearLR(optim.SGD([torch.ones(1)]), start_factor=2)",
        ValueError,
        "Starting multiplicative factor expected to be greater than 0 and less or equal to 1.",
    ),
]


@pytest.mark.parametrize("action, error, words", WRONG, ids=[case[0] for case in WRONG])
def test_errors(action, error, words):
    with pytest.raises(error) as caught:
        exec(action, {"optim": optim, "torch": torch})
    assert str(caught.value) == words


def test_doubled_parameters_warn():
    p = torch.ones(1)
    with pytest.warns(UserWarning, match="optimizer contains a parameter group with duplicate parameters"):
        optim.SGD([p, p])


# ---- A whole training ---------------------------------------------------------------------------------------------------------------


# Five losses of a small classifier with each optimizer.
TRAINED = [
    ("SGD", [1.120714, 1.11301, 1.105705, 1.098773, 1.092192]),
    ("Adam", [1.120714, 1.03802, 0.9748924, 0.9279795, 0.8974988]),
    ("AdamW", [1.120714, 1.038033, 0.9749845, 0.9281534, 0.8977108]),
    ("RMSprop", [1.120714, 1.151879, 1.80194, 0.7798403, 1.064091]),
    ("Adagrad", [1.120714, 1.03802, 0.9926627, 0.960317, 0.9341385]),
]


@pytest.mark.parametrize("kind, losses", TRAINED, ids=[case[0] for case in TRAINED])
def test_training_follows_torch(kind, losses):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = torch.randn(20, 4), torch.randint(0, 3, (20,))
    optimizer = getattr(optim, kind)(model.parameters(), lr=0.05)
    seen = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert seen == pytest.approx(losses, rel=1e-4)


def test_sgd_rounds_where_torch_rounds():
    torch.manual_seed(0)
    p, g = nn.Parameter(torch.randn(5)), torch.randn(5)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
    for _ in range(3):
        p.grad = g
        optimizer.step()
    assert p.tolist() == [
        2.525467872619629,
        -0.5892886519432068,
        -2.6693637371063232,
        1.092441201210022,
        -0.6796609163284302,
    ]


def test_nothing_is_added_to_an_infinite_parameter():
    for kind in ("SGD", "Adam", "AdamW"):
        p = nn.Parameter(torch.tensor([float("inf"), 1.0]))
        p.grad = torch.ones(2)
        getattr(optim, kind)([p], lr=0.1, weight_decay=0.0).step()
        assert p[0].item() == float("inf"), kind


MATRIX_STEPS = {
    "Adafactor": [
        [0.6813022182558355, -1.6625806276574113, 0.17678497990191377],
        [-0.07847141374127177, -0.05173030771134587, -0.23827707168232745],
    ],
    "Muon": [
        [0.7997514613671874, -1.6945516485156251, 0.3833291138867187],
        [0.036643416671874963, -0.016609987453125, -0.16490502795312498],
    ],
}


@pytest.mark.parametrize("kind", MATRIX_STEPS)
def test_four_steps_of_a_matrix(kind):
    p = nn.Parameter(torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.2, -0.1]], dtype=torch.float64))
    optimizer = getattr(optim, kind)([p], lr=0.1)
    for _ in range(4):
        p.grad = p.detach() * 2 + 0.5
        optimizer.step()
    torch.testing.assert_close(p.detach(), torch.tensor(MATRIX_STEPS[kind], dtype=torch.float64))


def test_muon_takes_matrices_only():
    with pytest.raises(ValueError, match="Muon only supports 2D parameters"):
        optim.Muon([nn.Parameter(torch.ones(2))])


@pytest.mark.parametrize(
    "search, lr, expected, loss, evals",
    [
        (None, 0.01, [-1.4744586504515684, 1.9965355115833574], 6.530840574706611, 18),
        ("strong_wolfe", 1, [0.7179941603355151, 0.4765323851550233], 1.1738914296228424, 22),
    ],
)
def test_lbfgs_goes_down_the_valley(search, lr, expected, loss, evals):
    p = nn.Parameter(torch.tensor([-1.5, 2.0], dtype=torch.float64))
    optimizer = optim.LBFGS([p], lr=lr, line_search_fn=search, max_iter=6)

    def closure():
        assert torch.is_grad_enabled()
        optimizer.zero_grad()
        value = (1 - p[0]) ** 2 + 10 * (p[1] - p[0] ** 2) ** 2
        value.backward()
        return value

    for _ in range(3):
        last = optimizer.step(closure)
    assert p.tolist() == pytest.approx(expected, rel=1e-9)
    assert last.item() == pytest.approx(loss, rel=1e-9)
    assert optimizer.state[p]["func_evals"] == evals
    names = ["func_evals", "n_iter", "al", "d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad"]
    assert list(optimizer.state_dict()["state"][0]) == [*names, "prev_loss"]


def test_lbfgs_takes_one_group_only():
    with pytest.raises(ValueError, match="doesn't support per-parameter options"):
        optim.LBFGS([{"params": [nn.Parameter(torch.ones(1))]}, {"params": [nn.Parameter(torch.ones(1))]}])


DIFFERENTIABLE = [
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, ["momentum_buffer"]),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}, ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]),
    ("AdamW", {}, ["exp_avg", "exp_avg_sq"]),
    ("RMSprop", {"momentum": 0.9}, ["square_avg", "momentum_buffer"]),
    ("Adadelta", {"weight_decay": 0.1}, ["square_avg", "acc_delta"]),
    ("Adagrad", {"weight_decay": 0.1}, ["sum"]),
    ("Adamax", {"weight_decay": 0.1}, ["exp_avg", "exp_inf"]),
    ("ASGD", {}, ["ax"]),
    ("Rprop", {}, ["prev", "step_size"]),
    ("NAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1}, ["exp_avg", "exp_avg_sq"]),
    ("RAdam", {"weight_decay": 0.1}, ["exp_avg", "exp_avg_sq"]),
]


@pytest.mark.parametrize("kind, settings, names", DIFFERENTIABLE, ids=[case[0] for case in DIFFERENTIABLE])
def test_a_differentiable_step_has_the_derivative_of_what_it_does(kind, settings, names):
    def step(p, grad, *states):
        p = p.clone()
        p.grad = grad
        optimizer = getattr(optim, kind)([p], lr=0.9, differentiable=True, **settings)
        if kind not in ("SGD", "Adagrad"):
            optimizer.state[p]["step"] = torch.tensor(10.0)
        if kind == "NAdam":
            optimizer.state[p]["mu_product"] = torch.tensor(0.9)
        if kind == "ASGD":
            optimizer.state[p].update(eta=torch.tensor(0.9), mu=torch.tensor(1.0))
        optimizer.state[p].update(zip(names, (state.clone() for state in states)))
        optimizer.step()
        return p, *(v for v in optimizer.state[p].values() if v.requires_grad)

    torch.manual_seed(1)
    inputs = [torch.rand(5, dtype=torch.float64, requires_grad=True) for _ in range(2 + len(names))]
    assert torch.autograd.gradcheck(step, inputs)


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_a_learning_rate_can_be_learned(kind):
    lr = torch.tensor(0.1, requires_grad=True)
    start = torch.tensor([1.0, -2.0], requires_grad=True)
    p = start.clone()
    optimizer = getattr(optim, kind)([p], lr=lr, differentiable=True)
    p.grad = torch.tensor([0.5, 3.0])
    optimizer.step()
    (slope,) = torch.autograd.grad(p.sum(), lr)
    assert slope.item() == pytest.approx(-3.5 if kind == "SGD" else -2.0, rel=1e-5)


def test_step_hooks_may_come_from_profile_hook_step():
    class Mine(optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {})

        def step(self, closure=None):
            return "stepped"

    assert not hasattr(Mine.step, "hooked")
    optimizer = Mine([nn.Parameter(torch.ones(1))])
    assert Mine.step.hooked
    assert optimizer._zero_grad_profile_name == "Optimizer.zero_grad#Mine.zero_grad"
    optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: 3)
    with pytest.raises(RuntimeError, match="must return None or a tuple of"):
        optimizer.step()


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [(optim.SGD, {"momentum": 0.9}), (optim.SGD, {}), (optim.Adam, {"amsgrad": True}), (optim.AdamW, {})],
)
def test_threads_change_no_bit_of_a_large_parameter(optimizer, settings):
    torch.manual_seed(0)
    before, results = torch.get_num_threads(), []
    start, grads = torch.randn(70_001), torch.randn(3, 70_001)
    for dtype in (torch.float32, torch.float64):
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            weight = start.to(dtype, copy=True).requires_grad_()
            stepping = optimizer([weight], lr=0.1, **settings)
            for grad in grads:
                weight.grad = grad.to(dtype)
                stepping.step()
            results.append(weight.detach().double())
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    assert torch.equal(results[3], results[4]) and torch.equal(results[3], results[5])
    assert torch.allclose(results[0], results[3], rtol=1e-4, atol=1e-5)


def test_sparse_adam_refuses_dense_gradients():
    p = nn.Parameter(torch.ones(2))
    optimizer, log = optim.SparseAdam([p]), []
    optimizer.register_step_pre_hook(lambda *args: log.append("before"))
    optimizer.register_step_post_hook(lambda *args: log.append("after"))
    assert optimizer.step(lambda: 5) == 5
    p.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="SparseAdam does not support dense gradients, please consider Adam instead"):
        optimizer.step()
    assert log == ["before", "after", "before"]
    assert optimizer.state_dict()["state"] == {}
    for settings, words in [
        ({"lr": 0}, "learning rate: 0"),
        ({"eps": 0}, "epsilon value: 0"),
        ({"betas": (1, 0)}, "index 0: 1"),
    ]:
        with pytest.raises(ValueError, match=f"Invalid .*{words}"):
            optim.SparseAdam([p], **settings)


@pytest.mark.parametrize(
    "name, settings, dtype, values, state",
    [
        (
            "SGD",
            {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
            "bfloat16",
            [0.89453125, -0.306640625, 1.9296875],
            [-0.55078125, -4.1875, 4.9375],
        ),
        (
            "SGD",
            {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
            "float16",
            [0.8994140625, -0.310791015625, 1.923828125],
            [-0.54931640625, -4.1875, 4.9375],
        ),
        (
            "SGD",
            {"lr": 0.1, "momentum": 0.9, "nesterov": True},
            "bfloat16",
            [1.0390625, -0.0703125, 1.8125],
            [-0.81640625, -3.8125, 4.0],
        ),
        (
            "SGD",
            {"lr": 0.1, "momentum": 0.9, "nesterov": True},
            "float16",
            [1.0400390625, -0.0693359375, 1.81640625],
            [-0.814453125, -3.83203125, 4.01171875],
        ),
        (
            "AdamW",
            {"lr": 0.1, "amsgrad": True},
            "bfloat16",
            [1.078125, -0.89453125, 2.546875],
            [-0.0810546875, -0.3828125, 0.400390625],
        ),
        (
            "AdamW",
            {"lr": 0.1, "amsgrad": True},
            "float16",
            [1.076171875, -0.89697265625, 2.53125],
            [-0.0814208984375, -0.383056640625, 0.401123046875],
        ),
        (
            "Adam",
            {"lr": 0.1, "weight_decay": 0.5},
            "bfloat16",
            [0.61328125, -0.890625, 2.53125],
            [0.045654296875, -0.578125, 0.87109375],
        ),
        (
            "Adam",
            {"lr": 0.1, "weight_decay": 0.5},
            "float16",
            [0.61279296875, -0.8994140625, 2.501953125],
            [0.045501708984375, -0.57861328125, 0.8720703125],
        ),
    ],
)
def test_halves_are_rounded_after_each_operation(name, settings, dtype, values, state):
    p = torch.nn.Parameter(torch.tensor([0.7, -1.3, 2.9]).to(getattr(torch, dtype)))
    optimizer = getattr(torch.optim, name)([p], **settings)
    for i in range(4):
        p.grad = (torch.tensor([0.3, -0.7, 1.9]) * (i + 1) / 3 - 0.5).to(p.dtype)
        optimizer.step()
    assert p.tolist() == values and next(v for v in optimizer.state[p].values() if v.dim()).tolist() == state


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_a_fused_step_counts_no_version(kind):
    p = torch.nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    kind([p], lr=0.1, fused=True).step()
    assert p._version == 0 and p[0] < 1


@pytest.mark.parametrize("kind", "Adadelta Adagrad Adam AdamW Adamax ASGD NAdam RAdam RMSprop Rprop".split())
def test_foreach_is_not_differentiable(kind):
    p = torch.ones(2, requires_grad=True).clone()
    p.retain_grad()
    p.sum().backward()
    with pytest.raises(AssertionError, match="_foreach ops don't support autograd"):
        getattr(torch.optim, kind)([p], foreach=True, differentiable=True).step()


def test_settings_of_sgd_are_compared_as_in_pytorch():
    for setting in ("lr", "momentum", "weight_decay"):
        torch.optim.SGD([torch.ones(1)], **{setting: float("nan")})
        with pytest.raises(TypeError, match="'<' not supported between instances of 'str' and 'float'"):
            torch.optim.SGD([torch.ones(1)], **{setting: "a"})
        with pytest.raises(ValueError, match="Invalid .*: -1"):
            torch.optim.SGD([torch.ones(1)], **{setting: -1})


def test_state_of_another_shape_or_kind_is_refused():
    p = torch.nn.Parameter(torch.ones(100_000))
    p.grad = torch.ones(100_000)
    sgd = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    for buffer, words in ((torch.zeros(1), "of shape"), (torch.zeros(p.shape, dtype=torch.int64), "can't be cast")):
        sgd.state[p]["momentum_buffer"] = buffer
        with pytest.raises(RuntimeError, match=words):
            sgd.step()
    assert p.equal(torch.ones(100_000))
