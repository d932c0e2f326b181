# How tensors print: sizes, dtypes, scientific notation, summaries, special values, gradients.
import torch

torch.manual_seed(14)
print(torch.tensor([]), torch.empty(0, 3), torch.tensor(3), torch.tensor(2.5), torch.tensor([True, False]))
print(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 1e5]), torch.tensor([1e-5, 1.0]), torch.tensor([1e10, 1.0]))
print(torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0]), torch.tensor([float("inf")]))
print(
    torch.tensor([1, -200, 30000]),
    torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8),
    torch.tensor([1], dtype=torch.int16),
)
print(
    torch.rand(3, dtype=torch.float64),
    torch.rand(2).half(),
    torch.rand(2).bfloat16(),
    torch.tensor(0.1, dtype=torch.float64),
)
print(torch.rand(2, 3, 4))
print(torch.randn(30))
print(torch.rand(1100))
print(torch.arange(2000).view(40, 50))
print(torch.zeros(2, 2, requires_grad=True), (torch.ones(3, requires_grad=True) * 2), torch.nn.Parameter(torch.ones(2)))
print(torch.ones(12, 3, requires_grad=True).exp())
print(
    [torch.tensor(1.0), torch.tensor([2])],
    {"a": torch.zeros(2)},
    (torch.Size([2, 3]), torch.float32, torch.device("cpu")),
)
print(
    torch.tensor([0.00001234, 123456.0]), torch.tensor([123456789.0]), torch.tensor([100000.0]), torch.tensor([99999.0])
)
print(
    torch.tensor(1e-8),
    torch.tensor(-0.0),
    torch.tensor([-1.0, 10.0, -100.5]),
    torch.full((2, 2), 7),
    torch.full((2,), 7.0),
)
print(f"{torch.tensor(3.14159):.2f} {torch.tensor(7)} {torch.tensor([1.0]).item()} {torch.tensor(2.0) + 1}")
print(torch.randint(0, 10, (3, 3)), torch.randperm(10), torch.linspace(0, 1, 5), torch.arange(0, 1, 0.25), torch.eye(2))
torch.set_printoptions(precision=2, sci_mode=False)
print(torch.tensor([1e-5, 3.14159, 12345.678]))
torch.set_printoptions(profile="default")
print(torch.tensor([1e-5, 3.14159, 12345.678]))
