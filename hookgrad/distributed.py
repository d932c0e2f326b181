"""Work on several machines, which hookgrad does not do: enough for programs to ask and go on without."""


def is_available():
    return False


def is_initialized():
    return False


is_torchelastic_launched = is_initialized
