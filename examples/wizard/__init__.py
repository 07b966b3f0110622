"""A form of several pages: each page is a task, and all tasks of one visitor share a state by its key."""
