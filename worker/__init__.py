"""Everything a Celery worker does. Read it like the flow: app, tasks, chunk runner, pipeline."""
