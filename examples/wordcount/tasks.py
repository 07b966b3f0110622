"""The app and its one task. A worker is started with `qtasks -A wordcount.tasks:app run`."""

from qtasks import QueueTasks
from wordcount.counting import count_file
from wordcount.ledger import Ledger

app = QueueTasks("wordcount")  # where its queue is, QTASKS_BROKER_URL says


@app.task
def count_words(path: str, ledger: str) -> dict[str, int]:
    """Return how often each word is in a file.

    Parameters:
        path: The file.
        ledger: The file in which each run is noted, before it does anything else.
    """
    Ledger(ledger).note(path)
    return count_file(path)
