"""The matrix of features and backends."""
