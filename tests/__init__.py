"""The tests; `python -m tests` runs all of them, and the linters before them."""
