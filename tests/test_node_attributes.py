"""What a node shows of itself: the names and values of what it saved, and what it does when it is called."""

import importlib
from types import SimpleNamespace

import pytest

import hookgrad as torch
from hookgrad.nn import functional as F


def leaf(*sizes):
    return torch.ones(*sizes, requires_grad=True)


def saved_names(node):
    return [name for name in dir(node) if "_saved_" in name]


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda x: x + x, ["_saved_alpha"]),
        (lambda x: x - 2, ["_saved_alpha"]),
        (lambda x: x.exp(), ["_raw_saved_result", "_saved_result"]),
        (lambda x: x.sum(0), ["_saved_dim", "_saved_keepdim", "_saved_self_sym_sizes"]),
        (lambda x: x.mean(), ["_saved_self_sym_numel", "_saved_self_sym_sizes"]),
        (lambda x: x[:, torch.tensor([0])], ["_raw_saved_indices", "_saved_indices", "_saved_self_sym_sizes"]),
        (lambda x: x.square(), ["_raw_saved_self", "_saved_exponent", "_saved_self"]),
    ],
)
def test_saved_attributes_have_the_names_of_pytorch(make, names):
    assert saved_names(make(leaf(2, 2)).grad_fn) == names


def test_sizes_and_strides_stand_for_arguments():
    x, w = leaf(2, 3), leaf(3, 4)
    node = (x @ w).grad_fn
    assert node._saved_self_sym_sizes == (2, 3) and node._saved_mat2_sym_strides == (4, 1)
    assert leaf(2, 3).mean().grad_fn._saved_self_sym_numel == 6
    batch = torch.addbmm(leaf(3, 3), leaf(2, 3, 4), leaf(2, 4, 3)).grad_fn
    assert (batch._saved_batch1_sym_argsize_0, batch._saved_batch2_sym_argsize_2) == (2, 3)
    convolve = torch.nn.functional.conv2d
    x, w = leaf(1, 1, 3, 3), leaf(1, 1, 3, 3)
    assert convolve(x, w, leaf(1)).grad_fn._saved_bias_sym_sizes_opt == (1,)
    assert convolve(x, w).grad_fn._saved_bias_sym_sizes_opt == (0,)


def test_a_saved_list_is_a_tuple_of_what_was_in_it():
    indices = torch.tensor([0, 1])
    node = leaf(2, 2)[:, indices].grad_fn
    assert node._saved_indices[0] is None and node._saved_indices[1].tolist() == [0, 1]
    missing, raw = node._raw_saved_indices
    raw.register_hooks(lambda t: t, lambda t: t)
    with pytest.raises(RuntimeError, match="value None is forbidden"):
        missing.register_hooks(lambda t: t, lambda t: t)


def test_saved_indices_have_no_history():
    indices = leaf(2, 2).max(0).values.grad_fn._saved_indices
    assert indices.grad_fn is None and not indices.requires_grad


def test_a_number_counts_as_saved():
    y = leaf(2) * 2
    y.sum().backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        print(y.grad_fn._saved_other)
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.sum().backward()
    y = leaf(2) + 2
    y.sum().backward()
    y.sum().backward()


def test_a_node_knows_what_gradients_it_takes():
    told = leaf(2, 3).exp().grad_fn._input_metadata
    (meta,) = told
    assert type(told) is tuple
    assert (meta.shape, meta.dtype, meta.device) == ([2, 3], torch.float32, torch.device("cpu"))
    assert not meta.is_nested_tensor


def test_calling_a_node_gives_the_gradients_of_its_inputs():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).grad_fn
    left, right = y(torch.tensor([1.0, 10.0]))
    assert left.tolist() == right.tolist() == [1.0, 20.0]
    assert x.neg().grad_fn(torch.ones(2)).tolist() == [-1.0, -1.0]
    assert x.neg().grad_fn(None) is None
    with pytest.raises(TypeError, match="expected 1 arguments, got 2 instead"):
        x.neg().grad_fn(torch.ones(2), torch.ones(2))
    with pytest.raises(TypeError, match="argument 0 is not a Variable"):
        y(1)
    y.next_functions[0][0](torch.ones(2))
    assert x.grad.tolist() == [1.0, 1.0]


def test_the_order_of_nodes_can_be_set():
    x, ran = leaf(1), []
    first, second = x * 1, x * 2
    for node, name in ((first.grad_fn, "first"), (second.grad_fn, "second")):
        node.register_hook(lambda grad_in, grad_out, name=name: ran.append(name))
    first.grad_fn._set_sequence_nr(second.grad_fn._sequence_nr() + 1)
    torch.autograd.backward([first, second], retain_graph=True)
    assert ran == ["first", "second"]


def test_a_gradient_is_laid_out_as_its_tensor():
    x = torch.ones(3, 2).t().requires_grad_()
    (x * 2).sum().backward()
    assert x.grad.stride() == x.stride() == (1, 2)


def test_a_function_that_is_one_node_shows_what_it_saved():
    nn = torch.nn.functional
    image = leaf(1, 4, 4, 4)
    shuffled = nn.pixel_shuffle(image, 2).grad_fn
    assert shuffled._saved_upscale_factor == 2 and saved_names(shuffled) == ["_saved_upscale_factor"]
    grid = torch.zeros(1, 2, 2, 2)
    sampled = nn.grid_sample(image, grid, mode="nearest", padding_mode="border", align_corners=True).grad_fn
    assert (sampled._saved_interpolation_mode, sampled._saved_padding_mode, sampled._saved_align_corners) == (
        1,
        1,
        True,
    )
    assert sampled._saved_input is image and torch.equal(sampled._raw_saved_grid.unpack(), grid)
    resized = nn.interpolate(image, scale_factor=2).grad_fn
    assert resized._saved_self_sym_sizes == (1, 4, 4, 4) and resized._saved_output_size == (8, 8)
    assert resized._saved_scales_h == 2.0 and not hasattr(resized, "_saved_align_corners")
    loss = nn.soft_margin_loss(leaf(3), torch.ones(3), reduction="sum")
    assert loss.grad_fn._saved_reduction == 2 and not hasattr(loss.grad_fn, "_saved_weight")
    assert not hasattr(loss.grad_fn, "_raw_saved_reduction")
    loss.backward()
    with pytest.raises(RuntimeError, match="already been freed"):
        assert loss.grad_fn._saved_self is None


LINEAR = {
    "interpolate": lambda x: torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "pixel_shuffle": lambda x: torch.nn.functional.pixel_shuffle(x, 2),
    "unfold": lambda x: torch.nn.functional.unfold(x, 2),
    "affine_grid": lambda x: torch.nn.functional.affine_grid(x[0, :2, :2, :3], [2, 1, 3, 3], align_corners=False),
}


@pytest.mark.parametrize("name", LINEAR)
def test_a_function_linear_in_its_argument_does_not_save_it(name):
    saved = []
    x = leaf(1, 4, 4, 4)
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda t: t):
        y = LINEAR[name](x)
    assert saved == []
    w = torch.rand(y.shape)
    y.backward(w, retain_graph=False)
    once = x.grad.clone()
    y.backward(w)  # nothing was freed
    assert torch.equal(x.grad, 2 * once)


def test_what_stands_for_a_default():
    assert leaf(2, 2).var(0).grad_fn._saved_correction == 1 and leaf(2, 2).var().grad_fn._saved_correction is None
    assert torch.nn.functional.max_pool2d(leaf(1, 1, 2, 2), 2).grad_fn._saved_stride == ()
    for reduction, number in (("none", 0), ("mean", 1), ("sum", 2)):
        loss = torch.nn.functional.nll_loss(leaf(1, 2), torch.tensor([1]), reduction=reduction).grad_fn
        assert loss._saved_reduction == number
    assert loss._saved_total_weight.item() == 1.0


hook = importlib.import_module("hookgrad.nn.utils.weight_norm").WeightNorm("weight", 0)
ONE_NODE = {
    "diagonal_scatter": lambda x: torch.diagonal_scatter(x, x[0].detach()),
    "select_scatter": lambda x: torch.select_scatter(x, x[0].detach(), dim=0, index=1),
    "slice_scatter": lambda x: torch.slice_scatter(x, x[:1].detach(), end=1),
    "as_strided_scatter": lambda x: torch.as_strided_scatter(x, x[0].detach(), (3,), (1,)),
    "put": lambda x: x.put(torch.tensor([1]), torch.ones(1)),
    "renorm": lambda x: torch.renorm(x, 2, 0, 1.0),
    "ldexp": lambda x: torch.ldexp(x, torch.tensor(2)),
    "narrow_copy": lambda x: torch.narrow_copy(x, 0, 1, 1),
    "nanmedian": lambda x: torch.nanmedian(x),
    "index_reduce": lambda x: x.index_reduce(0, torch.tensor([0]), torch.ones(1, 3), "mean"),
    "mvlgamma": lambda x: (x + 3).mvlgamma(2),
    "cholesky_solve": lambda x: torch.cholesky_solve(x, torch.eye(3)),
    "cholesky_inverse": lambda x: torch.cholesky_inverse(x),
    "triangular_solve": lambda x: torch.triangular_solve(x, torch.eye(3))[0],
    "weight_norm_interface": lambda x: hook.compute_weight(SimpleNamespace(weight_v=x, weight_g=torch.ones(3, 1))),
}


@pytest.mark.parametrize("name", ONE_NODE)
def test_a_function_that_is_one_node_in_pytorch_is_one_here(name):
    node = ONE_NODE[name](leaf(3, 3)).grad_fn
    assert node.name() == name.title().replace("_", "") + "Backward0"
    assert all(
        n is None or n.name() in ("torch::autograd::AccumulateGrad", "AddBackward0") for n, _ in node.next_functions
    )


@pytest.mark.parametrize("name", ["saved_tensors", "saved_variables", "_raw_saved_tensors"])
def test_only_the_node_of_a_function_of_the_users_shows_all_it_saved_at_once(name):
    x = torch.rand(2, 2, requires_grad=True)
    for node in (
        (x * x).grad_fn,
        torch.nn.functional.rrelu(x, training=True).grad_fn,
        torch.nn.LSTM(2, 2)(x[:, None])[0].grad_fn,
    ):
        assert not hasattr(node, name) and name not in dir(node)
    with pytest.raises(AttributeError, match=f"'RreluWithNoiseBackward0' object has no attribute '{name}'"):
        getattr(torch.nn.functional.rrelu(x).grad_fn, name)


def test_a_function_that_is_one_node_shows_results_it_saved():
    x = leaf(3)
    y = torch.ldexp(x, torch.tensor(2))
    assert torch.equal(y.grad_fn._saved_result, y) and torch.equal(y.grad_fn._raw_saved_result.unpack(), y)
    both = ["other", "result"]
    assert saved_names(y.grad_fn) == [kind + n for kind in ("_raw_saved_", "_saved_") for n in both]


def test_circular_padding_is_made_of_copies():
    x = leaf(1, 2, 4)
    y = torch.nn.functional.pad(x, (1, 2), mode="circular")
    assert y.grad_fn.name() == "torch::autograd::CopySlices"
    y.sum().backward()
    assert x.grad[0, 0].tolist() == [2, 2, 1, 2]


def test_the_history_is_forgotten_but_not_deleted():
    y = leaf(2) * 2
    for wrong, words in (
        (lambda: delattr(y, "_grad_fn"), "Deletion of _grad_fn"),
        (lambda: setattr(y, "_grad_fn", 3), "None"),
    ):
        with pytest.raises(RuntimeError, match=words):
            wrong()
    y._grad_fn = None
    assert y.grad_fn is None and not y.requires_grad


def test_a_tensors_hooks_run_once_at_its_node():
    x, seen = leaf(2), []
    y = x * 2
    y.register_hook(lambda grad: seen.append(grad.tolist()))
    y.grad_fn._register_hook_dict(y)
    y.sum().backward()
    assert seen == [[1, 1]] and y._use_count() == 1
    with pytest.raises(TypeError, match="expected a Tensor"):
        y.grad_fn._register_hook_dict(3)


def test_a_view_is_taken_of_another_base():
    base = torch.arange(6.0)
    assert base._view_func(base) is None
    assert base.view(2, 3).t()[0]._view_func(base * 3).tolist() == [0, 9]
    assert base[1:3]._view_func(torch.arange(12.0)[6:]).tolist() == [7, 8]


def test_what_is_not_kept_is_computed_from_what_is():
    A = torch.tensor([[1.0, 3.0], [2.0, 1.0]], requires_grad=True)
    det, solved = torch.linalg.det(A).grad_fn, torch.linalg.solve(A, torch.ones(2)).grad_fn
    transposed = torch.tensor([[3.0, 1.0], [1 / 3, 5 / 3]])  # as PyTorch factors a matrix that lies by rows
    assert torch.allclose(det._saved_LU, transposed) and det._saved_pivots.tolist() == [2, 2]
    assert solved._saved_LU.tolist() == [[2, 1], [0.5, 2.5]]
    assert solved._saved_A.tolist() == A.tolist() and solved._saved_left is True
    assert torch.linalg.slogdet(A).logabsdet.grad_fn._saved_sign.item() == -1
    norm = torch.nn.functional.group_norm(leaf(2, 4, 3, 5), 2).grad_fn
    assert (norm._saved_N, norm._saved_C, norm._saved_HxW) == (2, 4, 15)
    assert {"_saved_A", "_saved_LU", "_saved_pivots", "_raw_saved_A"} <= set(dir(det)) and "_saved_N" in dir(norm)
    buffer = torch.nn.functional.logsigmoid(leaf(1)).grad_fn._saved_buffer
    assert torch.allclose(buffer, torch.tensor([-1.0]).exp())
    d = torch.linalg.det(A)
    d.backward()
    with pytest.raises(RuntimeError, match="have already been freed"):
        d.grad_fn._saved_LU  # noqa: B018 (reading it raises)


def test_the_factors_of_a_matrix_are_packed_with_it():
    A = torch.eye(3).mul(2).requires_grad_()
    for f in (torch.linalg.det, torch.linalg.slogdet, lambda A: torch.linalg.solve(A, torch.ones(3))):
        a, lu, pivots, (_, result) = packed(lambda f=f: f(A))
        assert (a, lu, pivots) == (((3, 3), "leaf"), ((3, 3), "data"), ((3,), "data")) and "Linalg" in result
    assert torch.linalg.slogdet(A).logabsdet.grad_fn._saved_sign.grad_fn is not None


def test_a_dimension_is_saved_as_it_was_given():
    x = leaf(2, 4)
    for made in (torch.cat([x, x], -1), x.chunk(2, -1)[0], x.narrow(-1, 0, 2)):
        assert made.grad_fn._saved_dim == 2**64 - 1
    torch.cat([x, x], dim=-1).sum().backward()
    assert x.grad.tolist() == [[2] * 4] * 2


def packed(make):
    """What was packed where `make` ran: shape, and the node that it is of."""
    seen = []

    def pack(t):
        seen.append((tuple(t.shape), t.grad_fn.name() if t.grad_fn else "leaf" if t.requires_grad else "data"))
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        make()
    return seen


def test_what_a_step_of_a_gru_overwrites_is_saved_by_copies():
    cell, x = torch.nn.GRUCell(3, 4), leaf(2, 3)
    copies = [shape for shape, of in packed(lambda: cell(x)) if of == "CloneBackward0"]
    assert copies == [(2, 4), (2, 4)]


def test_a_layer_of_an_lstm_saves_a_workspace_as_well():
    lstm, x = torch.nn.LSTM(4, 3), torch.ones(5, 2, 4)
    assert len(packed(lambda: lstm(x))) == 11 and lstm(x)[0].grad_fn._saved_result3.dtype == torch.uint8


def test_ctc_loss_saves_how_it_got_there_and_its_targets_as_they_came():
    scores, targets = leaf(5, 2, 4), torch.tensor([[1, 2, 3], [2, 3, 1]])
    loss = lambda: F.ctc_loss(scores, targets, torch.tensor([5, 4]), torch.tensor([2, 1]), reduction="none")
    assert packed(loss) == [((5, 2, 4), "leaf"), ((2, 3), "data"), ((2,), "CtcLossBackward0"), ((2, 5, 5), "data")]
    node = loss().grad_fn
    assert (node._saved_input_lengths, node._saved_target_lengths) == ((5, 4), (2, 1))
    assert node._saved_targets is targets and node._saved_result1.shape == (2, 5, 5)


def test_functions_that_are_one_node_show_settings_and_sizes():
    node = F.bilinear(leaf(5, 3), leaf(5, 4), leaf(2, 3, 4)).grad_fn
    node = node if hasattr(node, "_saved_i1") else node.next_functions[0][0]
    assert (node._saved_expand1, node._saved_expand2, node._saved_expand3) == ((1, 3), (0,), (1, 2))
    assert node._saved_sumdim == (2, 3) and not hasattr(node, "_raw_saved_sumdim")
    node = F.unfold(leaf(1, 2, 3, 4), 2).grad_fn
    assert (node._saved_self_sym_argsize_minus_1, node._saved_self_sym_argsize_minus_2) == (4, 3)
    assert "_saved_self_sym_argsize_minus_1" in dir(node)
    q = torch.rand(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    sums = F.scaled_dot_product_attention(q, q, q).grad_fn._saved_logsumexp
    assert torch.allclose(sums, (q @ q.mT / 2).logsumexp(-1)) and sums.stride() == (6, 1, 2)


def test_the_derivative_of_such_a_function_shows_the_same_and_the_gradient():
    image, grid = leaf(1, 1, 3, 3), torch.zeros(1, 2, 2, 2, requires_grad=True)
    y = F.grid_sample(image, grid, align_corners=True)
    (g,) = torch.autograd.grad(y.square().sum(), image, create_graph=True)
    node = g.grad_fn
    assert node._saved_input is image and node._saved_grid is grid and node._saved_align_corners is True
    assert torch.equal(node._saved_grad_output, 2 * y) and "_raw_saved_grad_output" in dir(node)
    assert node._saved_interpolation_mode == 0


def test_a_layer_of_an_lstm_shows_what_it_saved():
    lstm, x = torch.nn.LSTM(4, 3), torch.ones(5, 2, 4)
    output, (h, c) = lstm(x)
    node = output.grad_fn
    assert (
        node._saved_input is x and node._saved_weight0 is lstm.weight_ih_l0 and node._saved_weight3 is lstm.bias_hh_l0
    )
    assert node._saved_hx_.shape == node._saved_cx_.shape == (2, 3) and node._saved_reverse is False
    assert torch.equal(node._saved_result0, output) and torch.equal(node._raw_saved_result2.unpack(), c[0])
    output.sum().backward()
    with pytest.raises(RuntimeError, match="already been freed"):
        node._saved_weight0.sum()


def test_a_tensor_that_was_not_given_is_saved_raw_all_the_same():
    x, bags = torch.rand(4, 4, dtype=torch.float64, requires_grad=True), torch.tensor([[0, 1], [2, 3]])
    for node, name in (
        (F.multi_margin_loss(x, torch.tensor([0, 1, 2, 3])).grad_fn, "weight"),
        (F.embedding_bag(bags, x).grad_fn, "per_sample_weights"),
        (F.embedding_bag(bags, x, mode="sum").grad_fn, "weight"),
        (F.scaled_dot_product_attention(*[x.view(1, 2, 2, 4)] * 3).grad_fn, "attn_mask"),
    ):
        assert getattr(node, "_saved_" + name) is None and f"_raw_saved_{name}" in dir(node)
        assert type(getattr(node, "_raw_saved_" + name)).__name__ == "SavedTensor"
    weighted = F.multi_margin_loss(x, torch.tensor([0, 1, 2, 3]), weight=torch.ones(4, dtype=torch.float64))
    assert weighted.grad_fn._saved_weight.shape == (4,)


@pytest.mark.parametrize("make", [torch.nn.MaxPool2d, torch.nn.AvgPool2d])
def test_a_number_for_both_dimensions_is_saved_for_each(make):
    node = make(2)(torch.rand(1, 1, 4, 4, requires_grad=True)).grad_fn
    assert (node._saved_kernel_size, node._saved_stride, node._saved_padding) == ((2, 2), (2, 2), (0, 0))


def test_the_distance_of_pairs_is_along_the_last_dimension():
    assert F.pairwise_distance(torch.rand(2, 3, requires_grad=True), torch.rand(2, 3)).grad_fn._saved_dim == (1,)


def test_strides_are_saved_for_the_gradient_of_the_matrix_itself():
    layer, data = torch.nn.Linear(5, 4), torch.rand(3, 5)
    node = layer(data).grad_fn
    assert (node._saved_mat1_sym_sizes, node._saved_mat1_sym_strides) == ((3, 5), ())
    assert (node._saved_mat2_sym_sizes, node._saved_mat2_sym_strides) == ((5, 4), (1, 5))
    node = layer.requires_grad_(False)(data.requires_grad_()).grad_fn
    assert (node._saved_mat1_sym_strides, node._saved_mat2_sym_strides) == ((5, 1), ())
    node = (data.detach() @ torch.rand(5, 2, requires_grad=True)).grad_fn
    assert (node._saved_self_sym_strides, node._saved_mat2_sym_strides) == ((), (2, 1))


def test_batch_norm_of_data_saves_the_running_statistics_as_well():
    layer = torch.nn.BatchNorm1d(3)
    for node in (layer(torch.rand(4, 3)).grad_fn, layer.eval()(torch.rand(4, 3)).grad_fn):
        assert node._saved_running_mean.shape == (3,) and node._saved_running_var.shape == (3,)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.interpolate(x, size=3),
        lambda x: F.interpolate(x, size=3, mode="linear"),
        lambda x: F.embedding_bag(torch.tensor([[1, 0]]), x[0]),
        lambda x: torch.select_scatter(x, torch.ones(2, 4), 0, 0),
        lambda x: torch.diagonal_scatter(x[0], torch.ones(2)),
    ],
)
def test_what_one_node_makes_was_never_written_to(call):
    x = leaf(1, 2, 4)
    y = call(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert y._version == grad._version == 0


def test_a_result_is_kept_without_its_history():
    x = leaf(2)
    y = x.exp()
    kept = y.grad_fn._raw_saved_result
    assert kept.data.grad_fn is None and not kept.data.requires_grad
    assert kept.unpack().grad_fn is y.grad_fn
    assert (x * x).grad_fn._raw_saved_self.data is x


def test_the_gradient_of_a_copy_with_a_part_replaced_is_such_a_copy():
    for name, call in (
        ("SelectScatterBackward0", lambda x: x.select_scatter(torch.ones(3), 0, 1)),
        ("SliceScatterBackward0", lambda x: x.slice_scatter(torch.ones(2, 1), 1, 1, 2)),
        ("DiagonalScatterBackward0", lambda x: x.diagonal_scatter(torch.ones(2))),
    ):
        x = leaf(2, 3)
        (grad,) = torch.autograd.grad(call(x).square().sum(), x, create_graph=True)
        assert grad.grad_fn.name() == name


def test_a_gradient_through_one_node_is_no_view():
    x = leaf(1, 2, 4)
    (grad,) = torch.autograd.grad(F.interpolate(x, size=3, mode="linear").sum(), x)
    assert grad._base is None


def test_integers_are_shown_without_a_sign_by_nodes_of_functions_too():
    node = torch.nanmedian(leaf(2, 3), -1)[0].grad_fn
    assert node._saved_dim == 2**64 - 1
    node = torch.select_scatter(leaf(2, 3), torch.ones(2), -1, -2).grad_fn
    assert (node._saved_dim, node._saved_index) == (2**64 - 1, 2**64 - 2)


def test_a_loss_of_each_row_has_no_total_weight():
    for reduction, total in ("none", 0), ("sum", 2), ("mean", 2):
        node = F.nll_loss(leaf(2, 3), torch.tensor([0, 1]), reduction=reduction).grad_fn
        assert node._saved_total_weight.item() == total
