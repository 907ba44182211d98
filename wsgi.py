"""`gunicorn wsgi:app`: gunicorn.conf.py says with how many workers and threads."""

from responder.app import create_app

app = create_app()
