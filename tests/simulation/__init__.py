"""The simulator: production services in virtual time, with every fault, judged by an oracle. README.md says how to use it."""
