"""What lies beside a table: a module for each companion, and the upsert that they share. None reads rows."""
