"""The web console at /console: pages over the same verbs and answers as the HTTP API's."""
