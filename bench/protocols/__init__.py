"""How an encoder is judged: one file a protocol."""
