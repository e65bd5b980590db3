"""The scheduler's brain: values, rules and the machine. Pure: no clock, no I/O, no threads, no randomness."""
