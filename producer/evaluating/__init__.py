"""Replaying recorded outcomes through policies: what each would have cost, and how good it was."""
