"""What a run will take, before it is begun: a sample of its documents, a rate, and what follows from both."""
