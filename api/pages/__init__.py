"""The web pages: HTML from the server, changes by server-sent events. They work without a script.

Everything that a page shows or does is also a resource of `/v1`. A page's caller is a session (`sessions`), which acts
as the API key or the contact that signed in.
"""
