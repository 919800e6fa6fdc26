"""Telling people what they should look at: what is found, and the ways by which it is told."""
