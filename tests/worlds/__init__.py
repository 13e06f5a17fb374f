"""Servers for tests in other languages, made on demand: see ``tests/worlds/control.py``."""
