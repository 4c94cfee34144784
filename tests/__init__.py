"""The tests; ``tests.canned`` holds states and plans for everything that is drawn."""
