"""Incomplete gamma functions, Hurwitz's zeta function, and draws that PyTorch makes from the same seed. Expected numbers are its own."""

import math

import pytest

import hookgrad as torch
from hookgrad import distributions as D

F64 = torch.float64


def vector(*numbers):
    return torch.tensor(numbers, dtype=F64)


def near(*numbers):
    return pytest.approx(numbers, rel=1e-9)


def test_draws_are_those_of_pytorch():
    torch.manual_seed(0)
    assert torch.poisson(torch.tensor([0.5, 3.0, 9.9, 12.0, 100.0, 0.0])).tolist() == [2, 4, 10, 15, 105, 0]
    torch.manual_seed(0)
    counts, p = torch.tensor([10.0, 10, 10, 100, 100, 100]), torch.tensor([0.1, 0.5, 0.9, 0.3, 0.5, 0.9])
    assert torch.binomial(counts, p).tolist() == [2, 6, 9, 28, 50, 91]
    torch.manual_seed(0)
    draws = torch._standard_gamma(vector(0.5, 1, 3, 10)).tolist()
    assert draws == near(0.000789358206348, 0.118983708968, 2.93723577197, 7.90107067675)
    torch.manual_seed(0)
    assert D.Dirichlet(vector(0.5, 1, 3)).sample().tolist() == near(0.000258212601887, 0.038921611035, 0.960820176363)
    torch.manual_seed(0)
    assert D.Beta(2.0, 3.0).sample((3,)).tolist() == pytest.approx([0.672644078732, 0.390039354563, 0.303948372602])


def test_what_cannot_be_drawn():
    with pytest.raises(RuntimeError, match="invalid Poisson rate"):
        torch.poisson(torch.tensor([-1.0]))
    with pytest.raises(NotImplementedError, match="\"poisson_cpu\" not implemented for 'Long'"):
        torch.poisson(torch.tensor([1]))
    assert torch.binomial(vector(3, 0, 3, 3), vector(0, 0.5, 1, math.nan)).tolist()[:3] == [0, 0, 3]


def test_a_draw_of_poisson_passes_zeros():
    rate = vector(1, 2).requires_grad_()
    torch.poisson(rate).sum().backward()
    assert rate.grad.tolist() == [0, 0]


def test_a_draw_of_gamma_is_differentiated_by_its_shape():
    shape = vector(0.5, 1, 3).requires_grad_()
    torch.manual_seed(0)
    torch._standard_gamma(shape).sum().backward()
    assert shape.grad.tolist() == pytest.approx([0.0113, 0.3262, 1.0459], abs=1e-4)
    rate = vector(2).requires_grad_()
    D.Gamma(shape.detach(), rate).rsample().sum().backward()
    assert rate.grad.item() < 0


def test_incomplete_gamma_functions():
    a, x = vector(0.1, 1, 3, 10, 50), vector(0.2, 0.1, 5, 9, 70).requires_grad_()
    lower, upper = torch.special.gammainc(a, x), torch.igammac(a, x)
    assert lower.tolist() == near(0.87941962679, 0.095162581964, 0.875347980517, 0.412591755668, 0.994859497541)
    assert upper.tolist() == near(0.12058037321, 0.904837418036, 0.124652019483, 0.587408244332, 0.00514050245851)
    assert torch.autograd.gradcheck(lambda x: torch.igamma(a, x), x) and torch.autograd.gradgradcheck(
        lambda x: torch.igammac(a, x), x
    )
    edges = torch.igamma(vector(0, 2, 2, math.inf, 0, -1), vector(1, 0, math.inf, 1, 0, 1)).tolist()
    assert edges[:4] == [1, 0, 1, 0] and all(math.isnan(e) for e in edges[4:])
    with pytest.raises(NotImplementedError, match="igamma: input"):
        torch.igamma(a.requires_grad_(), x).sum().backward()
    assert vector(2).igamma_(vector(1)).item() == pytest.approx(1 - 2 / math.e)


def test_zeta():
    x, q = vector(2, 3, 1.5, 4, 3), vector(1, 0.5, 20, 0.1, -1.5).requires_grad_()
    z = torch.special.zeta(x, q)
    assert z.tolist() == near(1.64493406685, 8.41439832212, 0.452873617129, 10000.7521461, 0.118102025821)
    assert torch.autograd.gradcheck(lambda q: torch.special.zeta(2, q), vector(0.5, 3).requires_grad_())
    assert torch.special.zeta(vector(1, 0.5, 2), 1.0).tolist()[0] == math.inf
    assert math.isnan(torch.special.zeta(vector(0.5), 1.0).item())
    assert torch.special.zeta(2.0, torch.tensor([1])).dtype == torch.float32


def test_counts_have_densities():
    poisson, binomial = D.Poisson(torch.tensor(2.0)), D.Binomial(3, probs=torch.tensor(0.25))
    assert poisson.log_prob(torch.tensor(3.0)).item() == pytest.approx(-1.7123, abs=1e-4)
    assert binomial.log_prob(binomial.enumerate_support()).exp().sum().item() == pytest.approx(1)
    assert binomial.entropy().item() == pytest.approx(1.0690, abs=1e-4) and binomial.mean.item() == 0.75
    assert D.Binomial(3, logits=binomial.logits).probs.item() == pytest.approx(0.25)
    torch.manual_seed(0)
    draws = D.Binomial(40, probs=torch.tensor(0.3)).sample((2000,))
    assert draws.mean().item() == pytest.approx(12, abs=0.3) and draws.var().item() == pytest.approx(8.4, rel=0.1)
    assert poisson.sample((2000,)).mean().item() == pytest.approx(2, abs=0.15)


def test_the_derivative_of_a_draw_of_gamma_is_not_differentiated():
    shape = vector(1, 2).requires_grad_()
    (grad,) = torch.autograd.grad((torch._standard_gamma(shape) ** 2).sum(), shape, create_graph=True)
    assert grad.grad_fn.name() == "MulBackward0"
    assert grad.grad_fn.next_functions[1][0].name() == "StandardGammaGradBackward0"
    with pytest.raises(NotImplementedError, match="the derivative for '_standard_gamma_grad' is not implemented."):
        grad.sum().backward()
