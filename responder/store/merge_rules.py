"""What comes back from a laptop, table by table, and when it is a conflict. What is a conflict stays as it is here."""

from typing import NamedTuple


class Rule(NamedTuple):
    """One table: what comes back, and what is listed for somebody to decide ("": never anything)."""

    table: str
    comes: str
    conflict: str


RULES = (
    Rule("suppressions", "each STOPP; a START there lifts the STOPP that both sides knew and nobody said again",
         "START or JA on one side and a STOPP on the other that it did not know: STOPP holds"),
    Rule("subscriptions", "new ones, unless the number said STOPP; those ended there end here, those ended here stay"
         " ended, unless they said JA there and nothing here; what they were told: the later of the two",
         "JA on one side, STOPP or the end of it on the other: it has ended"),
    Rule("turns", "new ones, with what their senders must hear of; none of a number that said STOPP", ""),
    Rule("points", "what changed there alone, as a new version here, and a push; of two confirmations the later",
         "changed on both sides to different things, or confirmed here as it is after it was changed there; what"
         " residents are told and what operators note apart"),
    Rule("audit", "each line, as it was written there", ""),
    Rule("broadcasts", "new ones, and what changed there alone; nothing of them goes out from here by itself: one that"
         " was going out is paused, one with a time has none, a push is over; one that is done there is paused if"
         " messages of it wait here",
         "changed on both sides"),
    Rule("deliveries", "new ones, as history; what was in hand is unknown, what a push had queued is superseded; what"
         " waits here and has gone out there does not wait any more", ""),
    Rule("aliases", "new ones, and those taken away there", "the word stands for another place here"),
    Rule("handled", "new ones", ""),
    Rule("notes", "each line of the shift log", ""),
    Rule("hosts", "new ones, and those taken away there", ""),
    Rule("questions", "new ones, closed, and their answers", ""),
    Rule("point_numbers", "new ones", "the number means another point here, or the point has another number"),
    Rule("operators", "which single-use codes were used", "an account that was made there, has another role or other"
         " districts, or was disabled: an admin does it here"),
    Rule("reports", "those that are not here", "signed there, and different here"),
    Rule("kits", "when it was merged, and how the laptop stood then", ""),
    Rule("places", "nothing: they come with the program", ""),
    Rule("meta", "nothing: counters of its own", ""),
    Rule("exercises", "nothing: the log has what was exercised", ""),
    Rule("played_points", "nothing", ""),
    Rule("sessions", "nothing: they open only the laptop", ""),
    Rule("failures", "nothing", ""),
    Rule("wishes", "nothing: they were asked on another phone line", ""),
    Rule("gateways", "nothing: the laptop has its own", ""),
    Rule("gateway_health", "nothing", ""),
    Rule("due", "nothing: what a changed point makes due is made due here", ""),
    Rule("leases", "nothing", ""),
    Rule("usage", "nothing: what the SIM card cost is no part of this provider's day", ""),
)  # fmt: skip
