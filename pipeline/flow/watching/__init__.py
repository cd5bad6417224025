"""How a run is watched: what its stages took, which of them was waited for, metrics, and what others may see of it."""
