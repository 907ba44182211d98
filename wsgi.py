"""`gunicorn wsgi:app`: gunicorn.conf.py says with how many workers and threads."""

import gc
from contextlib import suppress

from responder.app import create_app
from responder.store.engine import StoreAway

app = create_app()
with suppress(StoreAway):  # it is answered from memory until there is a database
    app.extensions["responder"].database.warm()
gc.collect()
gc.freeze()  # the tables in memory are not looked through again and again
