# Type promotion, casts, and numbers of every kind.
import itertools

import torch

kinds = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32,
         torch.float64, torch.bool]  # fmt: skip
for a, b in itertools.combinations_with_replacement(kinds, 2):
    print(a, b, torch.promote_types(a, b), (torch.ones(2, dtype=a) + torch.ones((), dtype=b)).dtype)
for a in kinds:
    t = torch.ones(2, dtype=a)
    print(a, (t + 1).dtype, (t * 1.5).dtype, (t / 2).dtype, (t > 0).dtype, t.sum().dtype, (t + True).dtype, (t // 2).dtype,
          t.is_floating_point(), t.element_size(), a.itemsize, t.type())  # fmt: skip
print(torch.tensor([1, 2.5]).dtype, torch.tensor([1, 2]).dtype, torch.tensor([True]).dtype, torch.tensor(1j.real).dtype)
print(torch.tensor([1.7, -1.7]).to(torch.int32), torch.tensor([300]).to(torch.uint8), torch.tensor([0.0, 2.0]).bool())
print(torch.tensor([65504.0, 1e-8]).half(), torch.tensor([3.14159]).bfloat16(), torch.tensor([1e300]).float())
print(torch.finfo(torch.float32).eps, torch.finfo(torch.float16).max, torch.iinfo(torch.int8).min)
print(torch.result_type(torch.tensor([1]), 1.5), torch.can_cast(torch.float32, torch.int32), torch.get_default_dtype())
print(
    torch.tensor(7) // 2, torch.tensor(-7) // 2, torch.tensor(-7) % 3, torch.tensor(7.5) % 2, torch.tensor(-7).fmod(3)
)
print(
    torch.tensor([1, 2]) ** 2,
    torch.tensor([1, 2]) ** 0.5,
    2 ** torch.tensor([1, 2]),
    torch.tensor([5]) & 3,
    ~torch.tensor([5]),
)
x = torch.zeros(2, dtype=torch.int64)
x += 3
print(x, x.float().dtype, x.double(), x.type(torch.float16).dtype, x.to(torch.ones(1).dtype).dtype)
try:
    x += 1.5
except RuntimeError:
    print("RuntimeError")
