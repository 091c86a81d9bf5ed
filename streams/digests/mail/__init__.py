"""Mails: the recipient's copy of a digest, and the providers that send it."""
