"""`python -m bloomweaver.writer`."""

from bloomweaver.writer import main

main.main()
