"""How long decoders and evaluation take."""
