"""What other services send us by HTTP: the SMS provider's events, and the readings of sensor vendors' networks."""
