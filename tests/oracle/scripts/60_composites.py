"""Functions made of others: values to six digits, errors, gradients."""

import warnings

import torch

warnings.simplefilter("ignore")
nan = float("nan")


def numbers(r):
    if isinstance(r, (tuple, list)):
        return [numbers(x) for x in r]
    return float(f"{r:.6g}") + 0.0 if isinstance(r, float) else r


def t(f):
    try:
        r = f()
        print(
            numbers(
                r.tolist() if hasattr(r, "tolist") else [x.tolist() for x in r] if isinstance(r, (tuple, list)) else r
            ),
            getattr(r, "dtype", ""),
        )
    except Exception as e:
        print(type(e).__name__, str(e).split("\n")[0])


torch.manual_seed(0)
x = torch.randn(4, 5)
y = torch.randn(4, 5, dtype=torch.float64)
i = torch.randint(-10, 10, (6,))
j = torch.randint(0, 8, (6,))
v = torch.randn(7)
t(lambda: v.diff())
t(lambda: x.diff(dim=0))
t(lambda: x.diff(n=2))
t(lambda: torch.diff(x, n=1, dim=1, prepend=x[:, :1], append=x))
t(lambda: torch.diff(torch.tensor(1.0)))
t(lambda: (x > 0).diff())
t(lambda: torch.diff(v, n=9))
t(lambda: torch.diff(v, n=0))
t(lambda: torch.diff(v, -1))
t(lambda: torch.gradient(v))
t(lambda: torch.gradient(x))
t(lambda: torch.gradient(x, dim=1, spacing=2.0))
t(lambda: torch.gradient(v, spacing=(torch.arange(7.0) ** 2,)))
t(lambda: torch.gradient(v, edge_order=2, spacing=0.5))
t(lambda: torch.gradient(v, spacing=(torch.arange(7.0) ** 2,), edge_order=2))
t(lambda: torch.gradient(v, spacing=[1, 2]))
t(lambda: torch.gradient(v[:1]))
t(lambda: torch.gradient(torch.arange(5)))
t(lambda: torch.cov(y))
t(lambda: torch.cov(y[0]))
t(lambda: torch.cov(y, correction=0))
t(lambda: torch.cov(y, fweights=torch.tensor([1, 2, 1, 3, 1])))
t(lambda: torch.cov(y, aweights=torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5], dtype=torch.float64)))
t(
    lambda: torch.cov(
        y, fweights=torch.tensor([1, 2, 1, 3, 1]), aweights=torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5], dtype=torch.float64)
    )
)
t(lambda: torch.cov(torch.zeros(1, 1, 1)))
t(lambda: torch.cov(i))
t(lambda: torch.cov(torch.tensor([[1.0], [2.0]])))
t(lambda: torch.cov(y, fweights=torch.tensor([1, 2])))
t(lambda: torch.corrcoef(y))
t(lambda: torch.corrcoef(y[0]))
w = y.clone()
w[1, 2] = nan
for m in ("linear", "lower", "higher", "midpoint", "nearest"):
    t(lambda m=m: torch.quantile(y, 0.3, interpolation=m))
    t(lambda m=m: torch.quantile(y, torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64), dim=0, interpolation=m))
    t(lambda m=m: torch.nanquantile(w, 0.7, dim=1, keepdim=True, interpolation=m))
    t(lambda m=m: torch.quantile(w, 0.7, dim=1, keepdim=True, interpolation=m))
    t(
        lambda m=m: (
            torch.quantile(
                y, torch.tensor([0.1, 0.5], dtype=torch.float64), dim=-1, keepdim=True, interpolation=m
            ).shape
        )
    )
    t(lambda m=m: torch.quantile(y, torch.tensor([0.1, 0.5], dtype=torch.float64), keepdim=True, interpolation=m).shape)
t(lambda m=m: torch.quantile(y, 2.0))
t(lambda m=m: torch.quantile(i, 0.5))
t(lambda m=m: torch.quantile(y, torch.tensor([0.1])))
t(lambda m=m: torch.quantile(torch.empty(0), 0.1))
t(lambda m=m: torch.quantile(x, 0.5, interpolation="x"))
t(lambda m=m: torch.nanquantile(torch.tensor([nan, nan]), 0.5))
t(lambda: x.quantile(0.5, 1))
t(lambda: torch.histc(v, 4))
t(lambda: torch.histc(v, 4, -1, 1))
t(lambda: torch.histc(i))
t(lambda: torch.histc(torch.ones(3), 3))
t(lambda: v.histc(bins=3, min=0, max=1))
t(lambda: torch.histc(v, 0))
t(lambda: torch.histc(v, 4, 2, 1))
t(lambda: torch.combinations(i, 2))
t(lambda: torch.combinations(i[:3], 3, True))
t(lambda: torch.combinations(x))
t(lambda: torch.combinations(i[:2], 3).shape)
t(lambda: torch.combinations(i, 0))
t(lambda: torch.combinations(i, -1))
t(lambda: torch.vander(v[:3]))
t(lambda: torch.vander(i, 2, increasing=True))
t(lambda: torch.vander(x))
t(lambda: torch.vander(v, 0).shape)
t(lambda: torch.vander(v, 1).shape)
t(lambda: torch.isin(i, j))
t(lambda: torch.isin(i, j, invert=True))
t(lambda: torch.isin(3, j))
t(lambda: torch.isin(i, 0))
t(lambda: torch.isin(i, torch.empty(0, dtype=torch.long)))
t(lambda: torch.isin(x, x[0]))
t(lambda: torch.unravel_index(torch.tensor([5, 11]), (3, 4)))
t(lambda: torch.unravel_index(torch.tensor(3), 4))
t(lambda: torch.unravel_index(torch.tensor(3.0), 4))
t(lambda: torch.unravel_index(torch.tensor(3), (-1,)))
t(lambda: torch.trapezoid(v))
t(lambda: torch.trapezoid(x, dx=0.5, dim=0))
t(lambda: torch.trapz(x, torch.arange(5.0) ** 2))
t(lambda: torch.cumulative_trapezoid(x, torch.arange(5.0) ** 2))
t(lambda: torch.cumulative_trapezoid(v, dx=2))
t(lambda: torch.trapezoid(x, x))
t(lambda: torch.gcd(i, j))
t(lambda: torch.lcm(i, j))
t(lambda: torch.gcd(v, v))
t(lambda: torch.gcd(torch.tensor([0, 4]), torch.tensor(0)))
t(lambda: torch.ldexp(v, torch.tensor([1, 2, 3, -1, 0, 5, 2])))
t(lambda: torch.ldexp(i, j))
t(lambda: x.sum_to_size(4, 1))
t(lambda: x.sum_to_size(5))
t(lambda: x.sum_to_size(3))
t(lambda: x.sum_to_size((1,)))
t(lambda: x.select_scatter(torch.ones(4), 1, 2))
t(lambda: x.slice_scatter(torch.ones(2, 5), 0, 1, 3))
t(lambda: x.diagonal_scatter(torch.ones(4)))
t(lambda: torch.as_strided_scatter(x, torch.ones(2, 2), (2, 2), (1, 2)))
t(lambda: x.select_scatter(torch.ones(5), 1, 2))
t(lambda: torch.narrow_copy(x, 1, 2, 2))
t(lambda: x.adjoint())
t(lambda: v.adjoint())
t(lambda: torch.renorm(x, 2, 0, 1))
t(lambda: x.renorm(1, 1, 0.5))
t(lambda: torch.renorm(x, -1, 0, 1))
t(lambda: torch.renorm(v, 2, 0, 1))
t(lambda: torch.zeros(3, 3).fill_diagonal_(2))
t(lambda: torch.zeros(7, 3).fill_diagonal_(2, wrap=True))
t(lambda: torch.zeros(7, 3).fill_diagonal_(2))
t(lambda: torch.zeros(3, 3, 3).fill_diagonal_(1))
t(lambda: torch.zeros(3, 2, 3).fill_diagonal_(1))
t(lambda: torch.zeros(3).fill_diagonal_(1))
t(lambda: x.clone().put_(torch.tensor([0, 7, 0]), torch.tensor([1.0, 2.0, 3.0])))
t(lambda: x.clone().t().put_(torch.tensor([1, 7]), torch.tensor([1.0, 2.0]), accumulate=True))
t(lambda: x.put(torch.tensor([1]), torch.tensor([9.0])))
t(lambda: x.put_(torch.tensor([1]), torch.tensor([9])))
t(lambda: x.put_(torch.tensor([1.0]), torch.tensor([9.0])))
t(lambda: x.put_(torch.tensor([1]), torch.tensor([9.0, 1.0])))
t(lambda: x.new_empty_strided((2, 3), (1, 2)).stride())
t(lambda: y.clone().float_power_(2))
t(lambda: x.float_power_(2))
t(lambda: x.is_conj())
t(lambda: torch.is_conj(x))
t(lambda: torch.isreal(v))
t(lambda: x.real is x)
t(lambda: v.imag)
g = y.clone().requires_grad_()
for f in (
    lambda: torch.quantile(g, 0.3),
    lambda: g.diff().pow(2).sum(),
    lambda: torch.cov(g).sum(),
    lambda: torch.trapezoid(g).sum(),
    lambda: g.sum_to_size(5).pow(2).sum(),
    lambda: g.select_scatter(torch.ones(4, dtype=torch.float64), 1, 2).pow(2).sum(),
    lambda: torch.renorm(g, 2, 0, 0.5).sum(),
    lambda: g.put(torch.tensor([1]), torch.tensor([2.0], dtype=torch.float64)).pow(2).sum(),
):
    t(lambda f=f: torch.autograd.grad(f(), g)[0].mul(1e6).round().long())
