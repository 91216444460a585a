"""Layer 6: protocol, daemon, client and the library's front door."""
