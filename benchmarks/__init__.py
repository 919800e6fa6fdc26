"""Benchmarks: what a prompt costs in CPU here, beside the floor and beside what others write."""
