"""A mailbox for one machine: an SMTP server that takes every mail, and web pages that show them as people see them."""
