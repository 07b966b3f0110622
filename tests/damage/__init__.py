"""What is broken, full or hostile, and what the worker makes of it."""
