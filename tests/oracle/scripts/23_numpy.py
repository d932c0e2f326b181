# To NumPy and back, sharing memory.
import numpy as np
import torch

a = np.arange(6, dtype=np.float32).reshape(2, 3)
t = torch.from_numpy(a)
t[0, 0] = 100
a[1, 2] = -1
print(t, a)
print(
    torch.tensor(a).sum(), torch.as_tensor(a).data_ptr() == a.ctypes.data, torch.tensor(a).data_ptr() == a.ctypes.data
)
print(t.numpy() is not a, np.shares_memory(t.numpy(), a), np.asarray(t.t()).shape, np.array(t, dtype=np.int64))
print(t * 2.0, t + np.float32(1))
print(torch.tensor([np.float32(1.5), np.int64(2)]), torch.tensor(np.bool_(True)), torch.tensor(np.arange(3)))
x = torch.ones(2, requires_grad=True)
print(x.detach().numpy(), np.isnan(torch.tensor([float("nan"), 1.0]).numpy()))
print(t[np.array([1, 0])], t[torch.tensor([True, False])], t[:, np.int64(1)])
print(
    torch.from_dlpack(np.arange(3)),
    np.from_dlpack(torch.arange(3.0)),
    torch.arange(3).tolist(),
    t.T.contiguous().numpy(),
)
