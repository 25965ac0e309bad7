"""`python -m worlds WORD`."""

from worlds.cli import main

main()
