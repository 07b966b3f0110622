"""The app of the endurance run, as its worker process finds it: `-A endurance_app`."""

import os

from endurance_load import new_app

app = new_app(os.environ["ENDURANCE_URL"])
