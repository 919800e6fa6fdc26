"""Plans: what a file might cost and take. Pure, but for `forecaster`."""
