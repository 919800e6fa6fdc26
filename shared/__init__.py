"""What producer and worker both need, and nothing else; knows neither side."""
