"""The brain: what a prompt is, who answers it, whether the answer is good, what next. All pure."""
