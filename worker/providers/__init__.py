"""Asking providers: wires, transport, throttle and health; `caller.ModelCaller` is the door."""
