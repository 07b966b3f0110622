"""The suites of what tasks can do: one class for each feature, run by real apps and real workers on the subject."""
