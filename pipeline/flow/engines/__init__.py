"""Who executes the stages: Ray's cluster, or processes of this machine. What is executed does not know."""
