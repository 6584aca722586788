"""Kernels: attention, layers and matrix products for each device, and which to use where."""
