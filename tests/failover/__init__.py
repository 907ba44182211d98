"""A gateway that fails while messages go out."""
