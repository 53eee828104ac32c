"""`python -m bloomweaver.controller`."""

from bloomweaver.controller import main

main.main()
