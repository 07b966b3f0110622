"""Group commit: batches without a timer, one answer for each item, bounded buffers, and callers that give up."""
