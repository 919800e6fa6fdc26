"""The command line `promptmill`."""
