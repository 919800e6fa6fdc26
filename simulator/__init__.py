"""A fake provider in one process: four wire formats, latency, faults and a bill of its own."""
