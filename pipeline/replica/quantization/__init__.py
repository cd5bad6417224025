"""Experts in 4 or 8 bits: the packed weights, loading without the whole model in memory, the forward pass over them."""
