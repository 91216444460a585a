"""The directory of a CORRAL_HOME: made private, identified, with its nonce."""
