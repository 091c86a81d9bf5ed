"""Webhooks: `telnyx` takes the SMS provider's events, `sensors` the readings of sensor vendors' networks."""
