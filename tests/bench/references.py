"""What the reply is measured against: Flask alone, and Flask with the library's validator and reply; no database."""

import os

from flask import Flask, Response, request
from twilio.request_validator import RequestValidator
from twilio.twiml.messaging_response import MessagingResponse

bare = Flask("bare")
library = Flask("library")
_validator = RequestValidator(os.environ.get("TWILIO_AUTH_TOKEN", ""))
_URL = os.environ.get("PUBLIC_URL", "")


@bare.post("/twilio/sms")
def _bare() -> Response:
    return Response("<Response/>", content_type="text/xml")


@library.post("/twilio/sms")
def _library() -> Response:
    if not _validator.validate(_URL + request.path, request.form, request.headers.get("X-Twilio-Signature", "")):
        return Response(status=403)
    reply = MessagingResponse()
    reply.message(f"Trygghetspunkt: {request.form['Body']}")
    return Response(str(reply), content_type="text/xml")
