"""Attention, layers and matrix products for each device, and the choice between them."""
