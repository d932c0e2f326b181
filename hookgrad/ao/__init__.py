"""Quantised models, which hookgrad does not have."""
