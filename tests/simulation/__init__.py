"""The simulator: production services in virtual time, every fault, an oracle. README.md says how to use it."""
