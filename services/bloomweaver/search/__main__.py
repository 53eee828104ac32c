"""`python -m bloomweaver.search`."""

from bloomweaver.search import main

main.main()
