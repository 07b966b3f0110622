"""What installed distributions bring."""
