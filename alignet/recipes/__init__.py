"""What `main.py` runs: the steps of the method in order, one recipe a file."""
