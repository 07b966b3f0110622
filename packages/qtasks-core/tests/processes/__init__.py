"""Tasks in processes of their own: what comes back, what crashes, what is killed, and what never outlives a worker."""
