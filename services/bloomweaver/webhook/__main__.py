"""`python -m bloomweaver.webhook`."""

from bloomweaver.webhook import main

main.main()
