"""The core of QTasks."""
