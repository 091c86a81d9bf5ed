"""A local mailbox: an SMTP server that accepts every mail, and web pages that show mails as people see them."""
