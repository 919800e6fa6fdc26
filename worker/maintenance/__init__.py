"""The repairers: one for each kind of loss, each with `run_once(now)`, all led by one process.

They are also what moves things on by itself: chunks to the queue, events to their receivers,
held jobs back to work. Every repairer may run twice at once without harm; the leadership only
saves the work.
"""
