"""Documents that kill the process that works on them: found one by one, quarantined, the rest goes on."""
