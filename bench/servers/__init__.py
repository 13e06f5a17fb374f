"""The servers under measurement, one file for each.

Each is run as a program, by the interpreter that has what it needs and nothing of this project. It
prints its port as the first line, and serves on 127.0.0.1 until it is ended. bench/dialects.py says
what is spoken with it.
"""
