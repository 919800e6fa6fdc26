"""The HTTP API: a thin door to the producer's verbs."""
