"""Rules as pure functions of frozen values and `now`: no files, no clock, no network, no database."""
