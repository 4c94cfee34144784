"""The arbitrage engine's access to its market data: models, symbol cache, operations on both schemas."""
