"""The version, in the one place everything else reads it from."""

__version__ = "0.1.0"
cuda = hip = None  # there are none
debug = False

# The PyTorch whose behaviour this is. In torch's place the package answers with it, since scripts ask for its version.
pytorch = "2.13.0"
cuda = hip = git_version = None
debug = False
