"""Looking back at jobs: results, a job's story, a batch's report, what was used and saved."""
