"""`gunicorn wsgi:app`: gunicorn.conf.py says with how many workers and threads."""

import gc

from responder.app import create_app

app = create_app()
gc.collect()
gc.freeze()  # the tables in memory are not looked through again and again
