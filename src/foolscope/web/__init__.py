"""The web application: `app.create_app` makes the ASGI application, `server.serve` runs it.

Nothing is imported here: the processes that decode uploads and run jobs are parts of this package and need no server.
"""
