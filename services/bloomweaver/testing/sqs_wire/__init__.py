"""A double of SQS that speaks its JSON protocol over HTTP, fast at any depth, and misbehaves on demand.

`server.serve()` starts it inside a test; `python -m bloomweaver.testing.sqs_wire` as a process. `faults.Misbehaviour`
says what goes wrong how often; the dice are seeded. It is a load double too: every call costs the same at any depth.
"""
