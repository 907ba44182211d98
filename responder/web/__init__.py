"""HTTP: provider webhooks, and a phone that speaks to them. Every route states who may use it."""
