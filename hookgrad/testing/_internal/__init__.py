"""What tests written in the manner of PyTorch's own suite import: private there, and here."""
