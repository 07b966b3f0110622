"""Count the words of the standard library with a queue, and kill a worker in the middle. See README.md."""
