"""Which documents belong together: from vectors to clusters, and how good these are. Pure; no table is written."""
