"""Middlewares: what is one, in which order they go, and what their errors do."""
