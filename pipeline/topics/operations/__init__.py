"""What can be done with the topics of a table: fit, refresh, label, merge, reduce. Each writes versions."""
