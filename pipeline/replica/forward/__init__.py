"""The forward pass over packed sequences: attention, experts, norms, the last block. Tensors in, tensors out."""
