"""What lies beside a table: a module for each companion or pair of them, and the upsert that they share."""
