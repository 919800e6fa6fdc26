"""Makes the weights that are shipped, and measures them: `python -m training DATA_FOLDER`."""
