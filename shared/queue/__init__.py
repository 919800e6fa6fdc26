"""The queue's edge: messages of ids, lanes, the one Celery configuration, the publisher."""
