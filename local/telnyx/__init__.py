"""A fake of the Telnyx v2 messaging API, over real HTTP, on loopback only.

`python -m local.telnyx --port 8099` runs it. `/v2/messages` answers as Telnyx does; `/control/...` tells it how to
misbehave and gives out the log of everything that happened, which is what tests audit.
"""
