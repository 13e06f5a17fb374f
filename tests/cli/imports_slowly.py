"""A module to serve whose import does not end."""

import os
import time

os.write(2, b"importing\n")
while True:  # not one wait without end: a signal that came right before it would not wake it
    time.sleep(0.05)
