"""Mails: what a letter is, how a digest becomes one, and the providers that take it."""
