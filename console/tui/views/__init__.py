"""One small class a screen: where its cursor stands, and which drawing function fills it."""
