"""Texts to vectors: prompts, tokens, batches, the encoder, calibration and combination. Neither tables nor Ray."""
