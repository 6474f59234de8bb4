"""Profile + host + workspace -> plan. Pure: no I/O."""
