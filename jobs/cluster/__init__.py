"""A Ray cluster as its users see it from outside: jobs are submitted to it, followed, listed and stopped."""
