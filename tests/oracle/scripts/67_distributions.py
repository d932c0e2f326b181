# Policy gradients and a variational autoencoder: distributions, their samples, divergences and errors, with hooks on the way.
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import distributions as D
from torch.distributions.categorical import Categorical
from torch.distributions.kl import kl_divergence, register_kl
from torch.distributions.normal import Normal

torch.manual_seed(543)
policy = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2), nn.Softmax(-1))
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
norms = []
for p in policy.parameters():
    p.register_hook(lambda g: norms.append(round(g.norm().item(), 3)))
for episode in range(3):
    log_probs, rewards = [], []
    state = torch.randn(4)
    for _ in range(5):
        m = Categorical(policy(state.unsqueeze(0)))
        action = m.sample()
        log_probs.append(m.log_prob(action))
        rewards.append(float(action))
        state = torch.randn(4)
    returns = torch.tensor([sum(0.9**k * r for k, r in enumerate(rewards[i:])) for i in range(5)])
    loss = -(torch.cat(log_probs) * (returns - returns.mean())).sum() - 0.01 * m.entropy().sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(episode, f"{loss.item():.3f}")
print(len(norms))

torch.manual_seed(0)
x = torch.tensor([[0.3, -1.2], [0.5, 2.0]])
encoder, decoder = nn.Linear(2, 4), nn.Linear(2, 2)
mu, log_var = encoder(x).chunk(2, 1)
seen = []
mu.register_hook(lambda g: seen.append(("mu", g.shape)))
log_var.register_hook(lambda g: seen.append(("log_var", g.shape)))
q = Normal(mu, (0.5 * log_var).exp())
z = q.rsample()
loss = F.mse_loss(decoder(z), x) + kl_divergence(q, Normal(0.0, 1.0)).mean()
loss.backward()
print(loss, seen, encoder.weight.grad)

third = torch.tensor([0.1, 0.6])
for d, value in [
    (Normal(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0])), third),
    (D.Laplace(torch.tensor([0.0, 1.0]), 2.0), third),
    (D.Uniform(torch.zeros(2), torch.ones(2)), third),
    (D.Exponential(torch.tensor([1.0, 3.0])), third),
    (D.Bernoulli(torch.tensor([0.3, 0.9])), torch.tensor([1.0, 0.0])),
    (D.Bernoulli(logits=torch.tensor([0.3, 0.9])), torch.tensor([1.0, 0.0])),
    (D.Categorical(torch.tensor([[0.1, 0.4, 0.5], [1.0, 2.0, 3.0]])), torch.tensor([0, 2])),
    (D.Categorical(logits=torch.tensor([0.1, 0.4])), torch.tensor(1)),
    (D.OneHotCategorical(torch.tensor([0.1, 0.9])), torch.tensor([0.0, 1.0])),
    (D.MultivariateNormal(torch.zeros(2), torch.tensor([[2.0, 0.5], [0.5, 1.0]])), third),
    (D.MultivariateNormal(torch.zeros(2), scale_tril=torch.eye(2)), third),
    (D.Independent(Normal(torch.zeros(3, 2), torch.ones(3, 2)), 1), third),
    (D.Gamma(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 0.5])), third),
    (D.Beta(torch.tensor([2.0, 0.5]), torch.tensor([3.0, 0.5])), third),
    (D.Dirichlet(torch.tensor([2.0, 0.5])), torch.tensor([0.25, 0.75])),
]:
    print(d, d.batch_shape, d.event_shape, d.support)
    print(d.log_prob(value), d.entropy(), d.mean, d.variance)
    if not isinstance(d, (D.Gamma, D.Beta, D.Dirichlet)):
        print(d.sample(), d.sample((2,)).shape)
    for name in ("cdf", "icdf"):
        if hasattr(type(d), name) and type(d) in (Normal, D.Uniform):
            print(name, getattr(d, name)(third))
    if d.has_enumerate_support:
        print(d.enumerate_support())

for p, q in [
    (Normal(0.0, 1.0), Normal(1.0, 2.0)),
    (D.Bernoulli(torch.tensor(0.3)), D.Bernoulli(torch.tensor(0.6))),
    (D.Categorical(torch.tensor([0.5, 0.5])), D.Categorical(torch.tensor([0.9, 0.1]))),
    (D.Exponential(torch.tensor(1.0)), D.Exponential(torch.tensor(2.0))),
    (D.Laplace(0.0, 1.0), D.Laplace(1.0, 2.0)),
    (D.Uniform(0.0, 1.0), D.Uniform(-1.0, 2.0)),
    (D.Uniform(0.0, 3.0), D.Uniform(-1.0, 2.0)),
    (Normal(0.0, 1.0), D.Uniform(0.0, 1.0)),
    (D.MultivariateNormal(torch.zeros(2), torch.eye(2)), D.MultivariateNormal(torch.ones(2), 2 * torch.eye(2))),
    (D.Independent(Normal(torch.zeros(2), 1.0), 1), D.Independent(Normal(torch.ones(2), 1.0), 1)),
]:
    print(kl_divergence(p, q))


class Mine(Normal):
    pass


@register_kl(Mine, Normal)
def _(p, q):
    return "mine"


print(kl_divergence(Mine(0.0, 1.0), Normal(0.0, 1.0)), kl_divergence(Normal(0.0, 1.0), Mine(0.0, 1.0)))
for wrong in (
    lambda: Normal(0.0, -1.0),
    lambda: Normal(float("nan"), 1.0),
    lambda: Categorical(torch.tensor([-1.0, 2.0])),
    lambda: Categorical(),
    lambda: D.Bernoulli(torch.tensor(1.5)),
    lambda: D.Uniform(1.0, 0.0),
    lambda: Normal(0.0, 1.0).log_prob(3),
    lambda: D.Uniform(0.0, 1.0).log_prob(torch.tensor(2.0)),
    lambda: Categorical(torch.tensor([0.5, 0.5])).log_prob(torch.tensor(2)),
    lambda: Normal(torch.zeros(3), 1.0).log_prob(torch.zeros(2)),
    lambda: kl_divergence(Normal(0.0, 1.0), D.OneHotCategorical(torch.tensor([0.5, 0.5]))),
    lambda: D.MultivariateNormal(torch.zeros(2), -torch.eye(2)),
    lambda: D.Independent(Normal(0.0, 1.0), 1),
    lambda: D.Dirichlet(torch.tensor(1.0)),
):
    try:
        wrong()
    except Exception as error:
        print(type(error).__name__, str(error).split("\n")[0][:160])
Normal(0.0, -1.0, validate_args=False)
