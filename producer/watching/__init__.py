"""The mill at this moment: what waits and runs, for people who watch and for Prometheus."""
