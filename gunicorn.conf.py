"""What `gunicorn wsgi:app` uses unless told otherwise."""

import os

bind = os.environ.get("BIND", "127.0.0.1:8000")
worker_class = "gthread"
workers = int(os.environ.get("WORKERS", "2"))
threads = 8
timeout = 30
graceful_timeout = 20
keepalive = 75  # longer than a proxy keeps its connections, so that the proxy is the one to close
max_requests = 0
