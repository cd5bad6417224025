"""One Mixture-of-Experts language model on one device: token batches in, hidden states and router outputs out.

Nothing here knows about prompts, calibration, tables or Ray.
"""
