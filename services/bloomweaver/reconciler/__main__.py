"""`python -m bloomweaver.reconciler`."""

from bloomweaver.reconciler import main

main.main()
