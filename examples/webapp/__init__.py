"""A web application and its worker in one process."""
