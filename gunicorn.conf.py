"""What `gunicorn wsgi:app` uses unless told otherwise."""

import itertools
import os

from gunicorn.glogging import Logger

from responder import logs, metrics
from responder.settings import load_settings

bind = os.environ.get("BIND", "127.0.0.1:8000")
worker_class = "responder.web.worker.Worker"  # gthread, with limits
workers = int(os.environ.get("WORKERS", "2"))
# Threads that mostly wait: web/gate.py lets 36 of them work at a time and 676 wait their turn, web/worker.py six deal
# with what has just come in. One costs about 40 kB. Where a system limits them (TasksMax, pids_limit), it must allow
# twice as many for each worker, and each has a file open now and then.
threads = 752
# Open connections of a worker, and what waits to become one: the gate sees the rest only when it has dealt with these.
worker_connections = 896
backlog = 512
limit_request_fields = 64
forwarder_headers = ""  # no proxy of ours says where the application begins
timeout = 30
graceful_timeout = 20
keepalive = 75  # longer than a proxy keeps its connections, so that the proxy is the one to close
max_requests = 0

_settings = load_settings()
logs.install(_settings.log_format, _settings.secrets)


class _Lines(Logger):
    """gunicorn's own records are lines as all others: no secret in an address, no number."""

    def setup(self, cfg):
        """See gunicorn."""
        super().setup(cfg)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(logs.Line(_settings.log_format, _settings.secrets))


logger_class = _Lines


def on_starting(server):
    """The workers count together."""
    server.run_name = metrics.begin(_settings.metrics_folder)


def pre_fork(server, worker):
    """A worker counts where one that ended left off."""
    taken = {other.slot for other in server.WORKERS.values()}
    worker.slot = next(slot for slot in itertools.count() if slot not in taken)


def post_fork(server, worker):
    """A worker counts with the others."""
    metrics.join(_settings.metrics_folder, server.run_name, worker.slot)
    metrics.answering()


def child_exit(server, worker):
    """What a worker counted stays, but it answers no more."""
    metrics.ended(_settings.metrics_folder, server.run_name, worker.slot)
