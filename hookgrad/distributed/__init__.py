"""Work on several machines, which hookgrad does not do: enough for programs to ask and go on without."""


def is_available():
    return False


def is_initialized():
    return False


is_torchelastic_launched = is_initialized
is_nccl_available = is_gloo_available = is_mpi_available = is_initialized


def get_rank(*args, **kwargs):
    """Fails, as what follows does, for no group of processes can be made."""
    raise ValueError("Default process group has not been initialized, please make sure to call init_process_group.")


get_world_size = get_backend = barrier = broadcast = reduce = gather = scatter = get_rank
all_reduce = all_gather = all_gather_object = broadcast_object_list = destroy_process_group = get_rank


def init_process_group(*args, **kwargs):
    """Fails: there is one process."""
    raise RuntimeError("hookgrad has no torch.distributed: it works in one process")


class ProcessGroup:
    """No group can be made: init_process_group() fails."""


class ReduceOp:
    """What the numbers of several processes would be reduced by."""

    SUM, AVG, PRODUCT, MIN, MAX = "SUM", "AVG", "PRODUCT", "MIN", "MAX"
