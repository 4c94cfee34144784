"""What may hold a copy back: small independent signals behind one protocol, and the board that reads them all."""
