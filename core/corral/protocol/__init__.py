"""What client and daemon say to each other: requests, replies, framing. Serialised by msgspec, over a Unix socket."""
