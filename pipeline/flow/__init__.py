"""The job as a Ray Data graph: planning, actor pools, commits, progress. Here, and not below, Ray is imported."""
