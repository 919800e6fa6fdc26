"""Who asks, and what is theirs: keys and their limits, a project's budget, policy and templates."""
