"""The same port with nobody at the other end: requests are signed and read as Twilio's, and nothing leaves."""

from responder.gateways.twilio import TwilioGateway


class RecorderGateway(TwilioGateway):
    """For the demo and the tests: it may tell demo points, and keeps no secret that matters."""

    real = False
