"""Mails: what a rendered is, how a digest becomes one, and the providers that take it."""
