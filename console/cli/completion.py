"""The shell's completion of the command's words."""

from __future__ import annotations

import argparse

_DIRECTORIES = ("plan", "keep")
_FILES = ("files", "file", "what", "report", "record", "picture")


def print_completion(parser: argparse.ArgumentParser, shell: str) -> int:
    """Print what makes a shell complete the command's words, its files and directories included."""
    import shtab

    subparsers = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for command in (made for action in subparsers for made in action.choices.values()):
        for action in command._actions:
            if action.dest in _DIRECTORIES:
                action.complete = shtab.DIRECTORY
            elif action.dest in _FILES:
                action.complete = shtab.FILE
    print(shtab.complete(parser, shell))
    return 0
