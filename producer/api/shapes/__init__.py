"""What the API says, described: the shapes of its answers and bodies as the OpenAPI page tells
them. Answers are built elsewhere and not checked on their way out; the fuzzing of the page holds
both together.
"""
