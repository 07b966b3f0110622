"""Every trigger: a test that fires it for real, and its row in docs/triggers.md."""
