"""Payloads of sensor vendors' networks, translated into readings: no I/O, no clock."""
