"""A module to serve whose import does not end."""

import os
import threading

os.write(2, b"importing\n")
threading.Event().wait()
